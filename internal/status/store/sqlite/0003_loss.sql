-- What is needed to prove that a notification is lost: in which log its furthest record is, and what is gone of the logs.
-- +goose Up
ALTER TABLE positions ADD COLUMN topic_id TEXT NOT NULL DEFAULT ''; -- nothing where it is not known

-- Of the furthest record of the notification that is known: run and step, its log (see logs), its partition and offset.
ALTER TABLE notifications ADD COLUMN record_stage INTEGER NOT NULL DEFAULT -1; -- -1: none is known
ALTER TABLE notifications ADD COLUMN record_log   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN record_at    INTEGER NOT NULL DEFAULT 0;

-- A topic that is deleted and created again is another log. AUTOINCREMENT: the newer log has the higher number.
CREATE TABLE logs (
  nr       INTEGER PRIMARY KEY AUTOINCREMENT,
  topic    TEXT    NOT NULL,
  topic_id TEXT    NOT NULL,
  UNIQUE (topic, topic_id)
);

-- Ranges of logs that were deleted before anybody processed them, as the status topic says.
CREATE TABLE gaps (
  topic       TEXT    NOT NULL,
  topic_id    TEXT    NOT NULL,
  partition   INTEGER NOT NULL,
  from_offset INTEGER NOT NULL,
  to_offset   INTEGER NOT NULL, -- exclusive
  done        TEXT    NOT NULL, -- base64: a bit for each offset from from_offset on that had been processed all the same
  at          INTEGER NOT NULL, -- when the gap was published
  PRIMARY KEY (topic, topic_id, partition, from_offset, to_offset)
);

DROP INDEX notifications_unended;
CREATE INDEX notifications_unended ON notifications (expires_at, id)
  WHERE NOT final AND state NOT IN ('held', 'sent') AND state <> 'lost' AND expires_at IS NOT NULL;
DROP INDEX notifications_awaited;
CREATE INDEX notifications_awaited ON notifications (state_at, id)
  WHERE NOT final AND state NOT IN ('queued', 'scheduled') AND state NOT IN ('retrying', 'held') AND state <> 'lost';

-- +goose Down
DROP INDEX notifications_unended;
CREATE INDEX notifications_unended ON notifications (expires_at, id)
  WHERE NOT final AND state NOT IN ('held', 'sent') AND expires_at IS NOT NULL;
DROP INDEX notifications_awaited;
CREATE INDEX notifications_awaited ON notifications (state_at, id)
  WHERE NOT final AND state NOT IN ('queued', 'scheduled') AND state NOT IN ('retrying', 'held');
DROP TABLE gaps;
DROP TABLE logs;
ALTER TABLE notifications DROP COLUMN record_at;
ALTER TABLE notifications DROP COLUMN record_log;
ALTER TABLE notifications DROP COLUMN record_stage;
ALTER TABLE positions DROP COLUMN topic_id;
