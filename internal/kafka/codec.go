package kafka

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// metadataLimit keeps a commit's metadata below the 4,096 bytes at which brokers refuse it, and the offset with it.
const metadataLimit = 3500

// metadata is what a commit says besides its offset. As text: "ls1.<flags>.<ledger>.<count>.<bitmap>", numbers decimal,
// the bitmap in unpadded base64, its bit 0 being the committed offset. Flags are 0 in this version.
type metadata struct {
	ledger int64  // the ledger is reflected up to here: a new owner reads from this offset on
	count  int32  // the ledger topic's partition count when the claim was first committed
	bitmap []byte // offsets done above the committed one
}

var (
	// errForeign: not written by a runner; the offset was set by somebody else, so nothing of the ledger counts.
	errForeign = errors.New("no metadata of ours")
	// errUnreadable: ours, but damaged or of a later version.
	errUnreadable = errors.New("unreadable commit metadata")
)

// encode gives the text and whether it fits.
func (m metadata) encode() (string, bool) {
	s := fmt.Sprintf("ls1.0.%d.%d.%s", m.ledger, m.count, base64.RawStdEncoding.EncodeToString(m.bitmap))
	return s, len(s) <= metadataLimit
}

func decodeMetadata(s string) (metadata, error) {
	if !strings.HasPrefix(s, "ls") {
		return metadata{}, errForeign
	}
	f := strings.Split(s, ".")
	if len(f) != 5 || f[0] != "ls1" || f[1] != "0" {
		return metadata{}, errUnreadable
	}
	ledger, err1 := strconv.ParseInt(f[2], 10, 64)
	count, err2 := strconv.ParseInt(f[3], 10, 32)
	bitmap, err3 := base64.RawStdEncoding.DecodeString(f[4])
	if err1 != nil || err2 != nil || err3 != nil || ledger < 0 || count < 1 {
		return metadata{}, errUnreadable
	}
	return metadata{ledger: ledger, count: int32(count), bitmap: bitmap}, nil
}

// LedgerNeeded says from which offset on the ledger is still needed by whoever takes over a job partition whose commit
// carries that metadata, and in which of the ledger's partitions. ok is false when the metadata does not say.
func LedgerNeeded(jobPartition int32, metadata string) (partition int32, offset int64, ok bool) {
	m, err := decodeMetadata(metadata)
	if err != nil {
		return 0, 0, false
	}
	return jobPartition % m.count, m.ledger, true
}
