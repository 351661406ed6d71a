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
