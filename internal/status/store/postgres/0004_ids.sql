-- What an id stands for: a hash of the content of its notification, keyed by the store's own secret. Rows of earlier versions
-- have none and fit every content.
-- +goose Up
ALTER TABLE notifications ADD COLUMN fingerprint TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE TABLE fingerprint_key (
  id  BIGINT NOT NULL PRIMARY KEY,
  key TEXT COLLATE "C" NOT NULL -- hexadecimal
);

-- Ids that callers have chosen, from before their notification is published until the recorder has long read it.
CREATE TABLE id_claims (
  id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  fingerprint TEXT COLLATE "C" NOT NULL,
  claims      BIGINT NOT NULL, -- requests that may have published it
  created_at  BIGINT NOT NULL
);
CREATE INDEX id_claims_by_time ON id_claims (created_at);

-- The fields in which a second notification of an id differs from the first, by the id of the event that says so.
CREATE TABLE differences (
  notification_id TEXT COLLATE "C" NOT NULL,
  event_id        TEXT COLLATE "C" NOT NULL,
  fields          TEXT COLLATE "C" NOT NULL, -- JSON
  PRIMARY KEY (notification_id, event_id)
);

-- +goose Down
DROP TABLE differences;
DROP TABLE id_claims;
DROP TABLE fingerprint_key;
ALTER TABLE notifications DROP COLUMN fingerprint;
