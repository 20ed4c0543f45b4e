package notify

// Header names on jobs and dead letters. All values are text; together they stay within 4 KiB.
const (
	HeaderSchema      = "ls-schema" // absent = 1
	HeaderIdempotency = "ls-idempotency"
	HeaderTrace       = "traceparent"

	HeaderID          = "ls-id"
	HeaderLane        = "ls-lane"
	HeaderRun         = "ls-run"
	HeaderStep        = "ls-step"
	HeaderAttempt     = "ls-attempt"
	HeaderHome        = "ls-home"
	HeaderAcceptedAt  = "ls-accepted-at" // RFC 3339
	HeaderNotBefore   = "ls-not-before"  // RFC 3339
	HeaderFingerprint = "ls-fingerprint" // a [Fingerprint], of what was submitted under an id of the caller's
	HeaderInDoubt     = "ls-in-doubt"    // gateways that may have accepted an earlier attempt, separated by commas
	HeaderRecipients  = "ls-recipients"  // [Parts]: the recipients of an e-mail that have a result
	HeaderExpiresAt   = "ls-expires-at"  // RFC 3339; a redrive's, and stronger than the value's expires_at

	HeaderDeadReason      = "ls-dead-reason"
	HeaderDeadCode        = "ls-dead-code"
	HeaderDeadGateway     = "ls-dead-gateway"
	HeaderDeadAt          = "ls-dead-at"
	HeaderOriginTopic     = "ls-origin-topic"
	HeaderOriginPartition = "ls-origin-partition"
	HeaderOriginOffset    = "ls-origin-offset"

	HeaderOriginLastOffset = "ls-origin-last-offset" // of a record batch: the last offset that it takes
	HeaderOriginCount      = "ls-origin-count"       // of a record batch: how many records it states to have
)

// Schema is the newest version of a job's value that this build understands. 2 adds payload.partial.
const Schema = 2
