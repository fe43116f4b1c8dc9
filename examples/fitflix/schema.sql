-- FitFlix's tables, with made data: the same each time. Times are UTC, as text that sorts.

PRAGMA journal_mode = WAL; -- readers do not hold up those who write
PRAGMA foreign_keys = ON;

CREATE TABLE plans (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) <= 60),
    cents_a_month INTEGER NOT NULL CHECK (cents_a_month >= 0),
    visits_a_week INTEGER -- none: any number
);

CREATE TABLE activities (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) <= 60),
    minutes INTEGER NOT NULL CHECK (minutes BETWEEN 1 AND 600)
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    activity_id INTEGER NOT NULL REFERENCES activities ON DELETE CASCADE,
    title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
    starts_at TEXT NOT NULL CHECK (length(starts_at) = 20),
    seats INTEGER NOT NULL CHECK (seats BETWEEN 1 AND 1000),
    description TEXT NOT NULL CHECK (length(description) <= 5000)
);
CREATE INDEX events_of_an_activity ON events (activity_id, id);
CREATE INDEX events_by_start ON events (starts_at);

INSERT INTO plans (name, cents_a_month, visits_a_week) VALUES
    ('Off-peak', 1990, 3), ('Standard', 2990, 5), ('Unlimited', 4490, NULL);

INSERT INTO activities (name, minutes) VALUES
    ('Yoga', 60), ('Spinning', 45), ('Boxing', 60), ('Pilates', 50),
    ('Rowing', 30), ('Climbing', 90), ('Swimming', 45), ('Strength', 60);

-- A year of events, one each 21 minutes.
WITH RECURSIVE
    made (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM made WHERE n < 23999),
    coach (n, name) AS (VALUES (0, 'Ada'), (1, 'Ben'), (2, 'Chioma'), (3, 'Dan'), (4, 'Eva'))
INSERT INTO events (activity_id, title, starts_at, seats, description)
SELECT
    activities.id,
    activities.name || ' with ' || coach.name,
    strftime('%Y-%m-%dT%H:%M:00Z', '2026-01-01', '+' || (made.n * 21) || ' minutes'),
    8 + made.n * 7 % 25,
    printf(
        'We warm up for %d minutes at %d beats a minute, then go on in %d rounds of %d minutes with'
        || ' %d seconds between them, and end with %d minutes of stretching. Those who are new do'
        || ' %d rounds. About %d kcal. Bring a towel, %d ml to drink, and shoes with clean soles;'
        || ' come %d minutes early, since the doors of room %d close when it begins. Cannot come?'
        || ' Cancel by %d o''clock the day before, so that somebody else can have the seat.',
        5 + made.n % 7, 90 + made.n * 3 % 31, 3 + made.n % 5, 4 + made.n * 11 % 9,
        20 + made.n * 13 % 71, 4 + made.n * 5 % 8, 1 + made.n % 3, 150 + made.n * 17 % 601,
        300 + made.n * 19 % 701, 5 + made.n * 3 % 11, 1 + made.n * 23 % 40, 8 + made.n % 13
    )
FROM made
JOIN activities ON activities.id = 1 + made.n * 3 % 8
JOIN coach ON coach.n = made.n % 5
ORDER BY made.n;
