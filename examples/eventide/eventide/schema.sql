-- Eventide's tables, with made data: the same each time. Times are UTC, as text that sorts.

PRAGMA journal_mode = WAL; -- readers do not hold up those who write
PRAGMA foreign_keys = ON;

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(email) <= 254),
    password_hash TEXT NOT NULL CHECK (length(password_hash) <= 200)
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
    city TEXT NOT NULL CHECK (length(city) BETWEEN 1 AND 60),
    starts_at TEXT NOT NULL CHECK (length(starts_at) = 20),
    seats INTEGER NOT NULL CHECK (seats BETWEEN 1 AND 100000),
    seats_taken INTEGER NOT NULL DEFAULT 0 CHECK (seats_taken BETWEEN 0 AND seats),
    organiser_id INTEGER REFERENCES users ON DELETE CASCADE
);
CREATE INDEX events_by_start ON events (starts_at);
CREATE INDEX events_of_an_organiser ON events (organiser_id);

CREATE TABLE bookings (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    booked_at TEXT NOT NULL CHECK (length(booked_at) = 20),
    UNIQUE (user_id, event_id)
);
CREATE INDEX bookings_of_an_event ON bookings (event_id);

WITH RECURSIVE
    made (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM made WHERE n < 1999),
    kind (n, name) AS (VALUES (0, 'Concert'), (1, 'Reading'), (2, 'Market'), (3, 'Workshop'), (4, 'Regatta')),
    place (n, name) AS (VALUES (0, 'Lisbon'), (1, 'Tallinn'), (2, 'Porto'))
INSERT INTO events (title, city, starts_at, seats)
SELECT
    kind.name || ' no. ' || (made.n / 5 + 1),
    place.name,
    strftime('%Y-%m-%dT%H:%M:00Z', '2027-01-01', '+' || (made.n * 4) || ' hours'),
    20 + made.n * 7 % 200
FROM made JOIN kind ON kind.n = made.n % 5 JOIN place ON place.n = made.n % 3
ORDER BY made.n;
