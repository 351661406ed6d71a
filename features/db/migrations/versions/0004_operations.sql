-- Erasing a user finds what they said of recommendations without reading the table.
CREATE INDEX feedback_of_user ON feedback (user_id) WHERE user_id IS NOT NULL;
