-- A user's history from the index alone: its rows lie scattered over the table, one page each, and to fetch these is most
-- of what the query takes. At their longest, ids leave an entry below the 2,704 bytes that one may have.
-- However long it takes: some two seconds for each million rows, in which landing waits and servers read on.
SET LOCAL statement_timeout = 0;
CREATE INDEX interactions_of_user_covering ON interactions
    (user_id, least(occurred_at, known_at) DESC, event_id DESC) INCLUDE (item_id, action, value, occurred_at, known_at);
SET LOCAL statement_timeout = '10min';
DROP INDEX interactions_of_user;
ALTER INDEX interactions_of_user_covering RENAME TO interactions_of_user;
-- Only pages that a vacuum has seen are left out: at each fiftieth of the table that is new, not each fifth.
ALTER TABLE interactions SET (autovacuum_vacuum_insert_scale_factor = 0.02);
