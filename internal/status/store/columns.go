package store

// The columns in the order of the fields of [line], [content] and [record].
var (
	idColumns = []column{
		{"id", word},
		{"expunged", truth},
	}
	originColumns = []column{
		{"unread", number},
		{"accepted_at", number},
		{"source", number},
		{"tenant", word},
		{"channel", word},
		{"lane", word},
		{"recipient", word},
		{"address", word},
		{"written", word},
		{"recipient_type", word},
		{"reference", word},
		{"metadata", word},
		{"send_at", moment},
		{"expires_at", moment},
		{"sensitive", truth},
		{"fingerprint", word},
	}
	standingColumns = []column{
		{"place", number},
		{"state_at", number},
		{"state_event", word},
		{"state_sum", number},
		{"state", word},
		{"final", truth},
		{"run", number},
		{"step", number},
		{"attempt", number},
		{"gateway", word},
		{"code", word},
		{"reason", word},
		{"provider_id", word},
		{"simulated", truth},
		{"next_at", moment},
	}
	placeColumns = []column{
		{"record_stage", number},
		{"record_log", number},
		{"record_at", number},
	}
	payloadColumns = []column{
		{"id", word},
		{"accepted_at", number},
		{"source", number},
		{"payload", word},
	}
	eventColumns = []column{
		{"notification_id", word},
		{"event_id", word},
		{"at", number},
		{"sum", number},
		{"state", word},
		{"gateway", word},
		{"body", word},
	}
)

func (l *line) row() []any {
	row := make([]any, 0, len(idColumns)+len(originColumns)+len(standingColumns)+len(placeColumns))
	row = append(row, l.id, l.expunged)
	row = l.origin.append(row)
	return l.place.append(l.standing.append(row))
}

func (p *content) append(row []any) []any { return append(row, p.acceptedAt, p.source, p.payload) }

func (p place) append(row []any) []any { return append(row, p.stage, p.log, p.at) }

func (r *record) row() []any {
	return []any{r.line.id, r.event, r.at, r.sum, r.state, r.gateway, r.body}
}

func (o *origin) append(row []any) []any {
	return append(row, o.unread, o.acceptedAt, o.source, o.tenant, o.channel, o.lane, o.recipient, o.address, o.written,
		o.recipientType, o.reference, o.labels, o.sendAt, o.expiresAt, o.sensitive, o.fingerprint)
}

func (s *standing) append(row []any) []any {
	return append(row, s.place, s.at, s.event, s.sum, s.state, s.final, s.run, s.step, s.attempt,
		s.gateway, s.code, s.reason, s.providerID, s.simulated, s.nextAt)
}
