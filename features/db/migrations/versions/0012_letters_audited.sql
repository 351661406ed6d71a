-- What becomes of dead letters, and items that are taken out, are among what operators did.
ALTER TABLE audit_events DROP CONSTRAINT audit_events_action_check;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_action_check CHECK (action IN
    ('refresh', 'replay', 'erase', 'promote', 'rollback', 'reload', 'train', 'fix', 'discard', 'delete'));
