package smtp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestCause_OfReplies lists replies of relays and providers by their cause. The step is RCPT, at which most relays report all
// of them.
func TestCause_OfReplies(t *testing.T) {
	for want, replies := range map[cause][]string{
		causeHELO: {
			"504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", "450 4.7.1 <vm.example>: Helo command rejected: Host not found",
			"501 Syntactically invalid HELO argument(s)", "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", "501 5.5.4 HELO/EHLO argument vm invalid, closing connection.",
		},
		causeHost: {
			"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://check.spamhaus.org/query/ip/192.0.2.1",
			"450 4.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
			"550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "550 5.7.25 The IP address sending this message does not have a PTR record",
			"550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).",
			"553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list", "554 Bad DNS PTR resource record.",
			"550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
		},
		causeAccount: {
			"554 5.7.1 <ada@example.com>: Relay access denied", "454 4.7.1 <ada@example.com>: Relay access denied", "550 5.7.1 Relaying denied. Proper authentication required.",
			"550 relay not permitted", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "550 5.7.64 TenantAttribution; Relay Access Denied",
			"530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
			"554 Access denied: User arn:aws:iam::1:user/x is not authorized to perform ses:SendRawEmail on resource x", "554 Message rejected: Sending suspended for this account. For more information, please check",
			"502 5.7.0 Your SMTP account is not yet activated.", "550 Unauthenticated senders not allowed", "553 Relaying disallowed as ada@example.com", "535 5.7.8 Username and Password not accepted.",
			"550 5.7.1 Access denied", "503 AUTH first", "554 Configuration set does not exist: x",
		},
		causeEncryption: {"530 5.7.0 Must issue a STARTTLS command first", "554 5.7.10 Encryption needed", "538 5.7.11 no", "451 5.7.3 STARTTLS is required to send mail"},
		causeSender: {
			"553 5.7.1 <no-reply@acme.example>: Sender address rejected: not owned by user acme", "550 5.1.8 <no-reply@acme.example>: Sender address rejected: Domain not found",
			"450 4.1.8 <no-reply@acme.example>: Sender address rejected: Domain not found", "504 5.5.2 <acme>: Sender address rejected: need fully-qualified address",
			"550 5.7.60 SMTP; Client does not have permissions to send as this sender", "554 5.2.252 SendAsDenied; a@b not allowed to send as c@d",
			"554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: no-reply@acme.example",
			"550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.", "550 Sender verify failed",
			"501 Mail from address must be same as authorization user.", "553 Mail from must equal authorized user", "550 not local sender over smtp",
			"550 5.7.0 From address is not one of your addresses", "553 5.7.1 Sender address rejected: not owned by auth user.", "550 5.7.26 This mail has been blocked because the sender is unauthenticated.",
			"550 5.7.1 Unauthenticated email from acme.example is not accepted due to domain's DMARC policy.", "550 5.7.23 <ada@example.com>: Recipient address rejected: Message rejected due to: SPF fail - not authorized.",
			"553 5.1.7 The sender's address is wrong", "553 sorry, your envelope sender has been denied (#5.7.1)", "550 5.1.8 Access denied, bad outbound sender AS(4810)", "451 4.1.8 Domain of sender address x@y does not resolve",
		},
		causeQuota: {
			"550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to x", "454 Throttling failure: Daily message quota exceeded.",
			"451 Authentication failed: Maximum credits exceeded", "451 You've exceeded your messaging limits", "452 Too many recipients received this hour", "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
			"550 5.7.705 Access denied, tenant has exceeded threshold", "550 Domain acme.example has exceeded the max emails per hour (101/100 (101%)) allowed. Message discarded.",
			"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", "552 5.2.2 Submission quota exceeded",
		},
		causeRate: {
			"454 Throttling failure: Maximum sending rate exceeded.", "421 4.4.2 Message submission rate for this client has exceeded the configured limit", "451 4.7.500 Server busy. Please try again later",
			"450 4.7.1 Error: too much mail from 192.0.2.1", "421 4.7.28 Our system has detected an unusual rate of unsolicited mail", "550 Ip frequency limited", "451 Too many messages, slow down",
			"421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
		},
		causeConnections: {
			"432 4.3.2 Concurrent connections limit exceeded", "421 Too many concurrent SMTP connections", "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
			"421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel", "421 4.7.0 mx.example Error: too many connections from 192.0.2.1",
		},
		causeClosing:    {"421 4.3.2 closing", "421 4.7.0 Try again later, closing connection.", "451 4.3.2 System not accepting network messages"},
		causeRecipients: {"452 4.5.3 Error: too many recipients", "552 5.5.3 too many"},
		causeGreylist:   {"450 4.2.0 <ada@example.com>: Recipient address rejected: Greylisted", "450 4.7.1 greylisted for 300 seconds", "451 4.7.1 come back"},
		causeMailbox: {
			"552 5.2.2 Mailbox full", "452 4.2.2 The email account that you tried to reach is over quota", "550 User quota exceeded", "450 4.2.1 The user you are trying to contact is receiving mail too quickly.",
			"550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.",
		},
		causeSize:    {"552 5.3.4 Message size exceeds fixed limit", "554 message too large"},
		causeAbility: {"555 5.5.4 Unsupported option: SIZE", "553 5.6.7 SMTPUTF8 required", "502 5.5.1 not implemented"},
		causeRecipient: {
			"550 5.1.1 <ada@example.com>: Recipient address rejected: User unknown in relay recipient table", "550 5.4.1 Recipient address rejected: Access denied.",
			"550-5.1.1 The email account that you tried to reach does not exist", "550 5.2.1 The email account that you tried to reach is disabled.", "550 Unrouteable address", "550 no such user",
			"550 5.1.1 <ada@example.com>: Recipient address rejected: undeliverable address: host mx.example[192.0.2.9] said: 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using x",
			"450 4.1.1 <ada@example.com>: Recipient address rejected: unverified address: Address verification in progress",
			"450 4.2.1 The recipient has reached the daily limit",
			"550 5.1.1 <relay.access.denied@example.com>: no", "550 what?", "554 5.7.1 <ada@example.com>: Recipient address rejected: Access denied", "450 4.1.2 <ada@example.com>: Recipient address rejected: Domain not found",
		},
		causeContent: {"554 5.7.1 Spam message rejected", "552 5.7.0 Our system detected an illegal attachment on your message", "554 5.7.1 Message contains a URL listed on dbl.spamhaus.org", "550 5.6.0 Lone CR or LF in headers"},
	} {
		for _, line := range replies {
			require.Equal(t, want, causeOf(line, atRcpt), line)
		}
	}
}

func causeOf(line string, at step) cause {
	r := said(line)
	if r.text[0] == '-' {
		r.text = r.text[1:]
	}
	e := &envelope{message: message("ada@example.com"), to: []string{"<ada@example.com>"}, fields: []string{"recipient"}, from: "<no-reply@acme.example>"}
	return relay{name: "mail", username: user, password: pass}.cause(e, &stepFailure{at: at, field: "recipient", reply: r})
}

// TestCause_VerdictByOwner: the same refusal of a sender stops the gateway if it is the gateway's sender, and passes the
// message on to the next gateway if it is the message's.
func TestCause_VerdictByOwner(t *testing.T) {
	for _, c := range []struct {
		say     string
		ownFrom bool
		verdict notify.Verdict
		next    bool
	}{
		{"550 5.1.8 Sender address rejected: Domain not found", true, notify.Unavailable, false},
		{"550 5.1.8 Sender address rejected: Domain not found", false, notify.Permanent, true},
		{"450 4.1.8 Sender address rejected: Domain not found", true, notify.Unavailable, false},
		{"450 4.1.8 Sender address rejected: Domain not found", false, notify.Transient, false},
		{"504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", false, notify.Unavailable, false},
		{"552 5.3.4 too big", false, notify.Permanent, true},
		{"550 5.1.1 no such user", false, notify.Permanent, false},
	} {
		e := &envelope{message: message("ada@example.com"), to: []string{"<ada@example.com>"}, fields: []string{"recipient"}, ownFrom: c.ownFrom}
		f := judged(e, &stepFailure{at: atRcpt, field: "recipient", reply: said(c.say)})
		require.Equal(t, []any{c.verdict, c.next}, []any{f.Verdict, f.Next}, c.say)
		require.NotContains(t, f.Error(), "acme.example")
	}
}

// TestCause_SandboxAccount: SES lists the identities that are not verified. If the sender is not in the list, they are
// recipients.
func TestCause_SandboxAccount(t *testing.T) {
	require.Equal(t, causeAccount, causeOf("554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: ada@example.com", atDot))
	require.Equal(t, causeSender, causeOf("554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: NO-REPLY@acme.example, ada@example.com", atDot))
}

// TestCause_QuotedMail: if a relay quotes the mail, the words of one message must not stop the gateway.
func TestCause_QuotedMail(t *testing.T) {
	m := message("ada@example.com", func(e *notify.Email) { e.Text = "They said: relay access denied." })
	e := &envelope{message: m, to: []string{"<ada@example.com>"}, fields: []string{"recipient"}}
	f := judged(e, &stepFailure{at: atDot, reply: said("554 5.7.1 bad words: relay access denied")})
	require.Equal(t, notify.Permanent, f.Verdict)
	require.False(t, f.Next)
}

// TestCheck_OwnSender: the check goes up to RCPT with the gateway's own sender, where Postfix reports its rules, and sends
// nothing.
func TestCheck_OwnSender(t *testing.T) {
	for _, c := range []struct {
		at      step
		say     string
		verdict notify.Verdict // empty: the gateway is good
		remedy  string
	}{
		{"", "", "", ""},
		{atRcpt, "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", notify.Unavailable, "gateways.mail.helo"},
		{atRcpt, "553 5.7.1 Sender address rejected: not owned by user acme", notify.Unavailable, "gateways.mail.from"},
		{atRcpt, "550 5.1.8 Sender address rejected: Domain not found", notify.Unavailable, "gateways.mail.from"},
		{atRcpt, "554 5.7.1 Relay access denied", notify.Unavailable, "gateways.mail.username"},
		{atRcpt, "550 5.1.1 User unknown", "", ""},
		{atRcpt, "450 4.2.0 Greylisted", "", ""},
		{atMail, "550 5.7.1 not yours", notify.Unavailable, "gateways.mail.from"},
	} {
		f := newFake(t)
		if c.at != "" {
			f.on(c.at, act{reply: c.say})
		}
		s := newSender(t, f, ownFrom)
		failure := notify.Judge(s.Check(t.Context()))
		if c.verdict == "" {
			require.Nil(t, failure, c.say)
		} else {
			require.Equal(t, c.verdict, failure.Verdict, c.say)
			require.Contains(t, failure.Remedy, c.remedy)
		}
		require.NotContains(t, f.commands(), "DATA")
		require.Contains(t, f.commands(), "MAIL FROM:<no-reply@acme.example>", c.say)
		if c.at == "" {
			require.Contains(t, f.commands(), "RCPT TO:<no-reply@acme.example>")
			require.Contains(t, f.commands(), "RSET")
		}
		require.Empty(t, f.mails())
	}
}

// TestRelay_EHLOName: a host name is used only if it is fully qualified.
func TestRelay_EHLOName(t *testing.T) {
	for name, want := range map[string]bool{
		"mail.acme.example": true, "a.b": true, "vm": false, "": false, "vm.local": false, "localhost.localdomain": false, "ip-10-0-0-1.ec2.internal": false,
		"10.0.0.1": false, "a..b": false, "a_b.example": false, "-a.example": false, "é.example": false,
	} {
		require.Equal(t, want, isFQDN(name), name)
	}
	f := newFake(t)
	s := newSender(t, f)
	s.relay.helo = ""
	_, failure := send(t, s, message("ada@example.com"))
	require.Nil(t, failure)
	require.Equal(t, "EHLO [127.0.0.1]", f.commands()[0])
}

func ownFrom(c *config.SMTP) { c.From = "Acme <no-reply@acme.example>" }
