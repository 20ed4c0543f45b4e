package cmd

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/laudspeaker/laudspeaker/gateway/capture"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/producer"
)

// outbox reads the folders of the gateways that capture; nil when none does.
func (p *process) outbox() (producer.Outbox, error) {
	folders := map[string]*capture.Outbox{}
	for _, o := range slices.Concat(slices.Collect(maps.Values(p.routes))...) {
		if o.Gateway.Capture == nil || folders[o.Gateway.Capture.Dir] != nil {
			continue
		}
		box, err := capture.NewOutbox(o.Gateway.Capture.Dir)
		if err != nil {
			return nil, err
		}
		folders[o.Gateway.Capture.Dir] = box
	}
	if len(folders) == 0 {
		return nil, nil
	}
	return outboxes(slices.Collect(maps.Values(folders))), nil
}

// outboxes are several folders that are shown as one.
type outboxes []*capture.Outbox

// List gives the newest messages of all folders, newest first.
func (os outboxes) List(limit int) ([]notify.Captured, error) {
	var all []notify.Captured
	for _, o := range os {
		some, err := o.List(limit)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortStableFunc(all, func(a, b notify.Captured) int { return b.At.Compare(a.At) })
	return all[:min(limit, len(all))], nil
}

// Get gives a message, whichever folder has it.
func (os outboxes) Get(id string) (notify.Captured, error) {
	for _, o := range os {
		if m, err := o.Get(id); !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
	}
	return notify.Captured{}, fs.ErrNotExist
}
