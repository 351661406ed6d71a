-- name: add_audit_event(actor, action, target, correlation_id, details)!
-- Note what somebody did.
INSERT INTO audit_events (actor, action, target, correlation_id, details)
VALUES (:actor, :action, :target, :correlation_id, :details);

-- name: latest_audit_events(at_most)
-- What was done last, newest first.
SELECT audit_event_id, at, actor, action, target, correlation_id, details FROM audit_events
ORDER BY audit_event_id DESC
LIMIT :at_most;

-- name: blank_audit_events(user_id, target)!
-- Let entries about a user name them by something else.
UPDATE audit_events SET target = :target WHERE target = :user_id AND action = 'refresh';

-- name: latest_moves(model, alias, at_most)
-- The latest moves of an alias, newest first.
SELECT audit_event_id, at, actor, action, target, correlation_id, details FROM audit_events
WHERE action IN ('promote', 'rollback') AND details ->> 'model' = :model AND details ->> 'alias' = :alias
ORDER BY audit_event_id DESC
LIMIT :at_most;

-- name: run_has_moved(model, alias, correlation_id)$
-- Whether a run has moved an alias.
SELECT EXISTS (
    SELECT FROM audit_events
    WHERE action IN ('promote', 'rollback') AND details ->> 'model' = :model AND details ->> 'alias' = :alias
        AND correlation_id = :correlation_id
);

-- name: lock_moves(model, alias)$
-- Take the lock of an alias for as long as the session lives, waiting for who has it.
SELECT pg_advisory_lock(hashtext('moves of an alias'), hashtext(:alias || '@' || :model));
