-- What the reconciler and receipts look for. Each index holds only what is on its way, or what a provider has told of.
-- +goose Up
CREATE INDEX notifications_unended ON notifications (expires_at, id)
  WHERE NOT final AND state NOT IN ('held', 'sent') AND expires_at IS NOT NULL;
CREATE INDEX notifications_awaited ON notifications (state_at, id)
  WHERE NOT final AND state NOT IN ('queued', 'scheduled') AND state NOT IN ('retrying', 'held');
CREATE INDEX notifications_by_provider ON notifications (gateway, provider_id, accepted_at)
  WHERE provider_id <> '' AND (state IN ('delivered', 'bounced') OR state = 'sent' AND NOT final);

-- +goose Down
DROP INDEX notifications_unended;
DROP INDEX notifications_awaited;
DROP INDEX notifications_by_provider;
