-- Operators may ask for a training; and who moved an alias last is read by servers whenever it moves.
ALTER TABLE audit_events DROP CONSTRAINT audit_events_action_check;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_action_check
    CHECK (action IN ('refresh', 'replay', 'erase', 'promote', 'rollback', 'reload', 'train'));
CREATE INDEX audit_events_of_moves ON audit_events ((details ->> 'model'), (details ->> 'alias'), audit_event_id)
    WHERE action IN ('promote', 'rollback');
