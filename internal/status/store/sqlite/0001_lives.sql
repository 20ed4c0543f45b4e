-- What is known of every notification. Times are microseconds since 1970, UTC; NULL where there is none.
-- +goose Up
CREATE TABLE notifications (
  nr             INTEGER PRIMARY KEY,
  line           INTEGER AS (nr), -- the number of the row, under a name by which SQLite keeps to both bounds of (accepted_at, line)
  id             TEXT    NOT NULL UNIQUE,
  -- of the job, or of the earliest event while the job has not been read
  unread         INTEGER NOT NULL, -- 1 until a job has been read
  accepted_at    INTEGER NOT NULL,
  source         INTEGER NOT NULL, -- checksum of this group: it decides between two jobs of one time
  tenant         TEXT    NOT NULL,
  channel        TEXT    NOT NULL,
  lane           TEXT    NOT NULL,
  recipient      TEXT    NOT NULL,
  address        TEXT    NOT NULL, -- by which recipients are found
  written        TEXT    NOT NULL, -- the recipient where it is not the address, to be found as well
  recipient_type TEXT    NOT NULL,
  reference      TEXT    NOT NULL,
  metadata       TEXT    NOT NULL, -- JSON, or nothing
  send_at        INTEGER,
  expires_at     INTEGER,
  sensitive      BOOLEAN NOT NULL,
  -- of the event that gives the state
  place          INTEGER NOT NULL,
  state_at       INTEGER NOT NULL,
  state_event    TEXT    NOT NULL,
  state_sum      INTEGER NOT NULL, -- checksum of the event's JSON
  state          TEXT    NOT NULL,
  final          BOOLEAN NOT NULL,
  run            INTEGER NOT NULL,
  step           INTEGER NOT NULL,
  attempt        INTEGER NOT NULL,
  gateway        TEXT    NOT NULL,
  code           TEXT    NOT NULL,
  reason         TEXT    NOT NULL,
  provider_id    TEXT    NOT NULL,
  simulated      BOOLEAN NOT NULL,
  next_at        INTEGER,
  expunged       BOOLEAN NOT NULL
);
-- Lists come by (accepted_at, line) descending, with one of these before it. What most rows have in common costs nothing.
CREATE INDEX notifications_by_time      ON notifications (accepted_at, line);
CREATE INDEX notifications_by_state     ON notifications (state, accepted_at, line);
CREATE INDEX notifications_by_channel   ON notifications (channel, lane, accepted_at, line);
CREATE INDEX notifications_by_gateway   ON notifications (gateway, accepted_at, line) WHERE gateway <> '';
CREATE INDEX notifications_by_address   ON notifications (address, accepted_at, line) WHERE address <> '';
CREATE INDEX notifications_by_written   ON notifications (written, accepted_at, line) WHERE written <> '';
CREATE INDEX notifications_by_reference ON notifications (reference, accepted_at, line) WHERE reference <> '';
CREATE INDEX notifications_by_tenant    ON notifications (tenant, accepted_at, line) WHERE tenant <> 'default';

-- A table of its own: a change of state rewrites a row, and payloads are large.
CREATE TABLE payloads (
  id          TEXT    NOT NULL PRIMARY KEY,
  accepted_at INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  payload     TEXT    NOT NULL
);

-- AUTOINCREMENT: a number is never given twice, so that a reader who comes back with the last one misses nothing.
CREATE TABLE events (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  notification_id TEXT    NOT NULL,
  event_id        TEXT    NOT NULL,
  at              INTEGER NOT NULL,
  sum             INTEGER NOT NULL,
  state           TEXT    NOT NULL,
  gateway         TEXT    NOT NULL,
  body            TEXT    NOT NULL,
  UNIQUE (notification_id, event_id)
);

CREATE TABLE positions (
  topic     TEXT    NOT NULL,
  partition INTEGER NOT NULL,
  next      INTEGER NOT NULL,
  PRIMARY KEY (topic, partition)
);

CREATE TABLE lease (
  id      INTEGER NOT NULL PRIMARY KEY,
  holder  TEXT    NOT NULL,
  expires INTEGER NOT NULL
);
INSERT INTO lease (id, holder, expires) VALUES (1, '', 0);

CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE expunged (
  id TEXT    NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL
);

CREATE TABLE idempotency (
  tenant      TEXT    NOT NULL,
  key         TEXT    NOT NULL,
  id          TEXT    NOT NULL,
  fingerprint TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  claimant    TEXT    NOT NULL,
  claimed_to  INTEGER NOT NULL,
  answer      TEXT    NOT NULL, -- nothing while it is in flight
  PRIMARY KEY (tenant, key)
);
CREATE INDEX idempotency_by_time ON idempotency (created_at);

-- +goose Down
DROP TABLE notifications;
DROP TABLE payloads;
DROP TABLE events;
DROP TABLE positions;
DROP TABLE lease;
DROP TABLE meta;
DROP TABLE expunged;
DROP TABLE idempotency;
