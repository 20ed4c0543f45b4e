package notify

import "time"

// LetterFilter chooses dead letters; a zero field asks for nothing, and those that ask have to agree.
type LetterFilter struct {
	IDs          []string // of notifications, as [ParseID] gives them
	Channels     []Channel
	Lane         Lane
	Reason       string // what the reason contains, in upper or lower case
	Code         string // what the provider's code begins with, in upper or lower case
	Gateway      string
	Recipient    string    // in any spelling
	Since, Until time.Time // died at or after, and before
	Partition    *int32    // of the topic of dead letters
	From, To     *int64    // the first and the last offset of the partition
}

// Narrow reports whether f asks for anything besides channels.
func (f *LetterFilter) Narrow() bool {
	return len(f.IDs) > 0 || f.Lane != "" || f.Reason+f.Code+f.Gateway+f.Recipient != "" ||
		!f.Since.IsZero() || !f.Until.IsZero() || f.Partition != nil || f.From != nil || f.To != nil
}

// Letter is a dead letter as it is shown. Of the payload it holds nothing.
type Letter struct {
	ID        string     `json:"id"`
	Channel   Channel    `json:"channel"`
	Lane      Lane       `json:"lane"`
	Run       int        `json:"run"`
	Step      int        `json:"step"`
	Attempt   int        `json:"attempt"`
	State     State      `json:"state"`
	Reason    string     `json:"reason"`
	Code      string     `json:"code,omitempty"`
	Gateway   string     `json:"gateway,omitempty"`
	DiedAt    time.Time  `json:"died_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Recipient string     `json:"recipient,omitempty"` // as log.recipients says
	Tenant    string     `json:"tenant,omitempty"`
	Reference string     `json:"reference,omitempty"`
	Bytes     int        `json:"bytes"` // of the value
	Letter    Origin     `json:"letter"`
	Origin    *Origin    `json:"origin,omitempty"` // where the job was
	Sent      bool       `json:"sent,omitempty"`   // a gateway turned out to have taken it
}

// Letters is a page of dead letters.
type Letters struct {
	Data []Letter
	Next string // opaque: where to go on; empty at the end as it stood
}

// Redrive asks that dead letters be sent again.
type Redrive struct {
	LetterFilter
	DryRun    bool
	ExpiresIn time.Duration // how long from now they are worth sending; 0: as they say themselves
	Limit     int           // how many letters at most are looked at that the filter chooses
	Cursor    string        // where to go on; empty begins
}

// Redriven is what came of a [Redrive].
type Redriven struct {
	Redriven int             // or, of a dry run, would be
	Skipped  []SkippedLetter // those that the filter chooses and that were left alone
	Next     string          // opaque: where to go on; empty at the end as it stood
}

// SkippedLetter is a dead letter that was not redriven.
type SkippedLetter struct {
	ID     string `json:"id"`
	Letter Origin `json:"letter"`
	Why    string `json:"why"` // one of the Skip constants
}

// Why a letter is not redriven.
const (
	SkipRedriven = "redriven"          // it was already
	SkipSent     = "sent"              // a gateway turned out to have taken it
	SkipExpired  = "expired"           // it would only expire again
	SkipExpunged = "expunged"          // what it says was to be forgotten
	SkipGone     = "gone"              // its value was too large for a dead letter, and is no longer where the job was
	SkipTooLarge = "too_large"         // its topic no longer takes a record of its size
	SkipBatch    = "undecodable_batch" // it holds a record batch: nobody knows what notifications it stands for
)

// Skips lists them.
func Skips() []string {
	return []string{SkipRedriven, SkipSent, SkipExpired, SkipExpunged, SkipGone, SkipTooLarge, SkipBatch}
}
