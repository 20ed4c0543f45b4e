-- Texts that were sent to us, by their providers' names: one that comes again changes nothing. Opt-outs and what takes them back
-- are kept for good, since a provider's signature without a time can be repeated at any time.
-- +goose Up
CREATE TABLE inbound (
  gateway TEXT    NOT NULL,
  message TEXT    NOT NULL,
  lasting BOOLEAN NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (gateway, message)
);
CREATE INDEX inbound_by_time ON inbound (at) WHERE NOT lasting;

-- +goose Down
DROP TABLE inbound;
