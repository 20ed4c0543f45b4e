package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// lifeColumns are those that scanLife reads, of notifications as n.
const lifeColumns = "n.id, n.tenant, n.channel, n.lane, n.recipient, n.recipient_type, n.reference, n.metadata, n.state, n.final," +
	" n.run, n.step, n.attempt, n.gateway, n.code, n.reason, n.provider_id, n.simulated, n.accepted_at, n.state_at," +
	" n.send_at, n.expires_at, n.next_at, n.sensitive, n.expunged, n.record_stage, n.record_at"

func scanLife(scan func(...any) error) (notify.Life, error) {
	var l notify.Life
	var labels string
	var acceptedAt, updatedAt int64
	var sendAt, expiresAt, nextAt *int64
	var at place
	err := scan(&l.ID, &l.Tenant, &l.Channel, &l.Lane, &l.Recipient, &l.RecipientType, &l.Reference, &labels, &l.State, &l.Final,
		&l.Run, &l.Step, &l.Attempt, &l.Gateway, &l.Code, &l.Reason, &l.ProviderID, &l.Simulated, &acceptedAt, &updatedAt,
		&sendAt, &expiresAt, &nextAt, &l.Sensitive, &l.Expunged, &at.stage, &at.at)
	if err != nil {
		return l, err
	}
	if at.stage >= 0 {
		partition := at.spread().Partition
		l.Partition = &partition
	}
	l.AcceptedAt, l.UpdatedAt = *timeOf(&acceptedAt), *timeOf(&updatedAt)
	l.SendAt, l.ExpiresAt, l.NextAt = timeOf(sendAt), timeOf(expiresAt), timeOf(nextAt)
	if labels != "" {
		err = json.Unmarshal([]byte(labels), &l.Metadata)
	}
	return l, err
}

// Get gives one notification with its payload, unless it is sensitive, and its timeline; or
// [notify.ErrUnknownNotification].
func (s *Store) Get(ctx context.Context, id string) (*notify.Life, error) {
	var l notify.Life
	err := s.snapshot(ctx, "reading a notification", func(tx *sql.Tx) (err error) {
		id := short(id)
		l, err = scanLife(tx.QueryRowContext(ctx, "SELECT "+lifeColumns+" FROM notifications AS n WHERE n.id = $1", id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return notify.ErrUnknownNotification
		}
		if err != nil {
			return err
		}
		if l.Payload, err = payloadOf(ctx, tx, &l); err != nil {
			return err
		}
		l.Timeline, err = timeline(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &l, nil
}

func payloadOf(ctx context.Context, tx *sql.Tx, l *notify.Life) (json.RawMessage, error) {
	if l.Sensitive || l.Expunged {
		return nil, nil
	}
	var payload string
	err := tx.QueryRowContext(ctx, "SELECT payload FROM payloads WHERE id = $1", l.ID).Scan(&payload)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return json.RawMessage(payload), err
}

func timeline(ctx context.Context, tx *sql.Tx, id string) ([]notify.Event, error) {
	differences, err := differencesOf(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT body FROM events WHERE notification_id = $1", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []notify.Event
	for rows.Next() {
		var body string
		var e notify.Event
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			return nil, err
		}
		e.Fields = differences[e.EventID]
		events = append(events, e)
	}
	slices.SortFunc(events, func(a, b notify.Event) int {
		return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Step, b.Step), a.At.Compare(b.At), cmp.Compare(a.EventID, b.EventID))
	})
	return events, rows.Err()
}
