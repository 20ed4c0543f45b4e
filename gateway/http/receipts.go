package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Receipts reads delivery reports as described in docs/receipts.md: JSON, signed by the Standard Webhooks scheme.
type Receipts struct{ key *standardwebhooks.Webhook }

// NewReceipts returns the reader of the gateway called name, whose section has a secret for receipts.
func NewReceipts(name string, cfg config.HTTPReceipts) (*Receipts, error) {
	key, err := standardwebhooks.NewWebhook(string(cfg.Secret))
	if err != nil || cfg.Secret == "" {
		return nil, fmt.Errorf("gateways.%s.receipts.secret must be whsec_ and bytes in base64", name) // err would quote a part of it
	}
	return &Receipts{key}, nil
}

// receipt is the body of a delivery report.
type receipt struct {
	NotificationID string    `json:"notification_id"`
	ProviderID     string    `json:"provider_id"`
	State          string    `json:"state"`
	Code           string    `json:"code"`
	Reason         string    `json:"reason"`
	At             time.Time `json:"at"`
	Sender         string    `json:"sender"`
}

// Read returns the report in a request with that body. It checks the signature, and that the request was signed within the last
// five minutes. It fails with [notify.ErrForged] or [notify.Faults].
func (s *Receipts) Read(r *http.Request, body []byte) (notify.Report, error) {
	if err := s.key.Verify(body, r.Header); err != nil {
		return notify.Report{}, fmt.Errorf("%w: %w", notify.ErrForged, err)
	}
	var said receipt
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&said); err != nil {
		return notify.Report{}, fault("#", notify.FaultInvalid, "send one JSON object with texts called notification_id or provider_id, state, and perhaps code, reason, sender and at (RFC 3339), and nothing else")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return notify.Report{}, fault("#", notify.FaultInvalid, "send one JSON object and nothing behind it")
	}
	return said.report()
}

func (r receipt) report() (notify.Report, error) {
	id, isID := notify.ParseID(r.NotificationID)
	switch state := notify.State(r.State); {
	case r.NotificationID == "" && r.ProviderID == "":
		return notify.Report{}, fault("#/notification_id", notify.FaultRequired, "name the message by notification_id or provider_id")
	case r.NotificationID != "" && !isID:
		return notify.Report{}, fault("#/notification_id", notify.FaultInvalid, "give the UUID with which the notification was accepted")
	case len(r.ProviderID) > maxID:
		return notify.Report{}, fault("#/provider_id", notify.FaultTooLong, "give the id that the answer to the send had, at most 255 bytes")
	case len(r.Sender) > maxID:
		return notify.Report{}, fault("#/sender", notify.FaultTooLong, "give the sender of the text, at most 255 bytes")
	case state != notify.StateDelivered && state != notify.StateBounced:
		return notify.Report{}, fault("#/state", notify.FaultInvalid, "say delivered or bounced; for what is on its way send nothing")
	default:
		return notify.Report{
			Gone:           state == notify.StateBounced && notify.IsGone(r.Reason),
			NotificationID: id, ProviderID: r.ProviderID, Run: notify.AnyRun, State: state, Code: r.Code, Reason: r.Reason, At: r.At, Sender: r.Sender,
		}, nil
	}
}

func fault(pointer, code, detail string) error {
	return notify.Faults{{Pointer: pointer, Code: code, Detail: detail}}
}
