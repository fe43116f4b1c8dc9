"""What PostgreSQL is asked for a report: its catalogue and statistics, never a table of yours.

Promises: each question reads at most :data:`MOST_ROWS` rows, the largest or worst first. For sizes
and definitions PostgreSQL takes the weakest lock of a table for a moment; tables that others have
for themselves, or are waiting to have so, can be left out. What a role may not see PostgreSQL
leaves empty: each question says where it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Rows that one question may bring; tables and indexes beyond these are not looked at.
MOST_ROWS: Final = 5000

# Of the relation that is c, with the large values that are kept beside it.
_SIZE: Final = """(pg_relation_size(c.oid) + coalesce((SELECT pg_relation_size(toast.oid)
        FROM pg_class toast WHERE toast.oid = c.reltoastrelid), 0))"""

#: Tables and indexes that somebody has for himself just now, or waits to have: who asks after him
#: would wait too.
LOCKED: Final = """
SELECT DISTINCT relation::bigint AS number, relation::regclass::text AS name
  FROM pg_locks
 WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
 LIMIT {most}
"""

SERVER: Final = """
SELECT current_setting('server_version') AS version,
       pg_database_size(current_database()) AS database_bytes,
       pg_is_in_recovery() AS is_replica,
       extract(epoch FROM now() - stats_reset)::float8 AS statistics_seconds,
       extract(epoch FROM now() - pg_postmaster_start_time())::float8 AS up_seconds,
       blks_hit, blks_read, temp_bytes,
       pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
  FROM pg_stat_database WHERE datname = current_database()
"""

SETTINGS: Final = """
SELECT name, setting, unit, current_setting(name) AS shown
  FROM pg_settings
 WHERE name IN ('shared_buffers', 'work_mem', 'maintenance_work_mem', 'effective_cache_size',
       'max_connections', 'autovacuum', 'fsync', 'full_page_writes')
"""

CONNECTIONS: Final = """
SELECT coalesce(state, 'of other roles') AS state,
       coalesce(nullif(application_name, ''), 'without a name') AS application,
       count(*)::int AS connections
  FROM pg_stat_activity
 WHERE (backend_type = 'client backend'
        OR backend_type IS NULL AND usesysid IS NOT NULL AND datid IS NOT NULL)
   AND pid <> pg_backend_pid()
 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT {most}
"""

IDLE_IN_TRANSACTION: Final = """
SELECT pid, coalesce(nullif(application_name, ''), 'without a name') AS application,
       extract(epoch FROM now() - state_change)::float8 AS seconds
  FROM pg_stat_activity
 WHERE state LIKE 'idle in transaction%' AND datname = current_database()
   AND now() - state_change > interval '1 minute'
 ORDER BY 3 DESC LIMIT {most}
"""

TABLES: Final = """
SELECT format('%I.%I', s.schemaname, s.relname) AS name,
       c.reltuples::bigint AS rows, {size} AS table_bytes,
       (SELECT coalesce(sum(pg_relation_size(i.indexrelid)), 0)::bigint FROM pg_index i
         WHERE i.indrelid = c.oid AND i.indexrelid NOT IN ({left_out})) AS index_bytes,
       s.seq_scan, s.seq_tup_read, coalesce(s.idx_scan, 0) AS idx_scan,
       s.n_live_tup AS live, s.n_dead_tup AS dead, s.n_mod_since_analyze AS changed,
       extract(epoch FROM now() - greatest(s.last_vacuum, s.last_autovacuum))::float8
         AS vacuum_seconds,
       extract(epoch FROM now() - greatest(s.last_analyze, s.last_autoanalyze))::float8
         AS analyze_seconds,
       c.relpages::bigint * current_setting('block_size')::bigint AS main_bytes,
       coalesce((SELECT pg_relation_size(toast.oid) FROM pg_class toast
                  WHERE toast.oid = c.reltoastrelid), 0) AS large_bytes,
       ARRAY(SELECT quote_ident(a.attname) FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND a.attstorage IN ('x', 'e') AND a.atttypmod = -1 ORDER BY a.attnum) AS unbounded,
       (SELECT sum(w.avg_width * (1 - w.null_frac))::float8 FROM pg_stats w
         WHERE w.schemaname = s.schemaname AND w.tablename = s.relname AND NOT w.inherited)
         AS row_bytes,
       has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid) AS is_readable
  FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
 WHERE c.oid NOT IN ({left_out})
 ORDER BY c.relpages DESC LIMIT {most}
"""

INDEXES: Final = """
SELECT format('%I.%I', n.nspname, t.relname) AS table,
       format('%I.%I', n.nspname, c.relname) AS name, {size} AS size_bytes, s.idx_scan AS scans,
       i.indisunique AS is_unique, i.indisvalid AND i.indisready AS is_valid,
       i.indisprimary OR i.indisexclusion OR i.indisreplident OR c.relispartition
         OR c.relkind = 'I'
         OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) AS is_needed,
       m.amname AS method, pg_get_expr(i.indpred, i.indrelid) AS condition,
       coalesce(u.seq_scan, 0) + coalesce(u.idx_scan, 0) AS table_reads,
       -- As JSON, since PostgreSQL 14 does not know it.
       coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true' AS is_null_once,
       coalesce(c.reloptions, '{}') || ARRAY(
         SELECT a.attnum || ' ' || array_to_string(a.attoptions, ' ') FROM pg_attribute a
          WHERE a.attrelid = c.oid AND a.attoptions IS NOT NULL ORDER BY a.attnum) AS options,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, place, false)
                    || CASE WHEN k.indoption & 1 = 1 THEN ' DESC' ELSE '' END
                    || CASE WHEN k.indoption & 3 IN (1, 2) THEN ' NULLS '
                         || CASE WHEN k.indoption & 2 = 2 THEN 'FIRST' ELSE 'LAST' END
                       ELSE '' END
                    || CASE WHEN k.class_is_default THEN '' ELSE ' ' || k.class END
                    || CASE WHEN k.collation_is_default THEN '' ELSE ' COLLATE ' || k.collation END
               FROM (SELECT place, i.indoption[place - 1] AS indoption, o.opcdefault
                            AS class_is_default, o.opcname AS class,
                            i.indcollation[place - 1] = 0 OR i.indcollation[place - 1] =
                              coalesce(a.attcollation, i.indcollation[place - 1])
                            AS collation_is_default, (SELECT quote_ident(collname) FROM
                              pg_collation n WHERE n.oid = i.indcollation[place - 1]) AS collation
                       FROM generate_series(1, i.indnkeyatts) place
                       JOIN pg_opclass o ON o.oid = i.indclass[place - 1]
                       LEFT JOIN pg_attribute a
                         ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place - 1]
                        AND a.attnum > 0) k ORDER BY place) AS keys,
       ARRAY(SELECT coalesce(quote_ident(a.attname), '')
               FROM generate_series(1, i.indnkeyatts) place
               LEFT JOIN pg_attribute a
                 ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place - 1] AND a.attnum > 0
              ORDER BY place) AS columns,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, place, false)
               FROM generate_series(i.indnkeyatts + 1, i.indnatts) place ORDER BY place) AS included
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_am m ON m.oid = c.relam
  LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
  LEFT JOIN pg_stat_user_tables u ON u.relid = i.indrelid
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND t.oid NOT IN ({left_out}) AND c.oid NOT IN ({left_out})
   AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'
 ORDER BY c.relpages DESC LIMIT {most}
"""

FOREIGN_KEYS: Final = """
SELECT format('%I.%I', n.nspname, c.relname) AS table,
       format('%I.%I', rn.nspname, r.relname) AS refers_to, c.relkind = 'p' AS is_partitioned,
       CASE WHEN c.relkind <> 'p' THEN {size} END AS table_bytes,
       ARRAY(SELECT quote_ident(a.attname) FROM unnest(k.conkey) WITH ORDINALITY part(number, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.number
              ORDER BY place) AS columns
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0 AND c.oid NOT IN ({left_out})
   AND NOT EXISTS (SELECT FROM pg_index i
                    WHERE i.indrelid = c.oid AND i.indexrelid IN ({left_out}))
 ORDER BY c.relpages DESC LIMIT {most}
"""

SEQUENCES: Final = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, ps.last_value,
       has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') AS is_readable,
       s.seqtypid <> 'int8'::regtype OR s.seqmax < 9223372036854775807 AS is_short,
       coalesce(a.atttypid IN ('int4'::regtype, 'int2'::regtype), false) AS is_short_column,
       CASE WHEN a.attnum IS NOT NULL THEN format('%I.%I', tn.nspname, t.relname) END AS table,
       quote_ident(a.attname) AS column,
       least(s.seqmax, CASE a.atttypid WHEN 'int4'::regtype THEN 2147483647
                                       WHEN 'int2'::regtype THEN 32767
                                       ELSE s.seqmax END) AS last_possible
  FROM pg_sequence s
  JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_sequences ps ON ps.schemaname = n.nspname AND ps.sequencename = c.relname
  LEFT JOIN pg_depend d ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass
       AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  LEFT JOIN pg_class t ON t.oid = d.refobjid
  LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE s.seqincrement > 0 AND NOT s.seqcycle
 ORDER BY ps.last_value DESC NULLS LAST LIMIT {most}
"""


def filled(question: str, leave_out: Iterable[int] = ()) -> str:
    """Return *question* with its bounds, about all but the relations *leave_out*."""
    return (
        question.replace("{size}", _SIZE)
        .replace("{most}", str(MOST_ROWS))
        .replace("{left_out}", ", ".join(map(str, (0, *leave_out))))
    )
