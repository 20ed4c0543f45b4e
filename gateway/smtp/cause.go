package smtp

import (
	"regexp"
	"strings"
)

// cause is why a relay refused a command. The step of the reply does not decide: by default Postfix reports its rules for
// HELO, client and sender at RCPT (https://www.postfix.org/postconf.5.html#smtpd_delay_reject).
type cause string

const (
	causeUnknown     cause = ""
	causeHELO        cause = "helo"        // the name by which we greet
	causeHost        cause = "host"        // this host's address, its reputation or its PTR record
	causeAccount     cause = "account"     // authentication, relaying, a suspended account
	causeEncryption  cause = "encryption"  // the relay wants TLS first
	causeSender      cause = "sender"      // the address or domain in from
	causeQuota       cause = "quota"       // what the account may send in an hour, a day or a month
	causeRate        cause = "rate"        // too many messages a second
	causeConnections cause = "connections" // too many connections at once
	causeRecipients  cause = "recipients"  // too many recipients for one transaction
	causeGreylist    cause = "greylist"    // this recipient, later
	causeMailbox     cause = "mailbox"     // the recipient's mailbox, which may take mail later
	causeSize        cause = "size"        // larger than this relay takes
	causeAbility     cause = "ability"     // an extension that this relay lacks
	causeClosing     cause = "closing"     // 421 and 4.3.2 without more: the relay serves nobody now
	causeSequence    cause = "sequence"    // 503 without more
	causeRecipient   cause = "recipient"
	causeContent     cause = "content"
)

// codeRule assigns a cause to enhanced status codes, which are written without their class.
type codeRule struct {
	cause cause
	codes []string
}

// exactCodes are codes with one meaning, for any text: Exchange and Microsoft 365 use details of two and three digits
// (https://learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online), RFC 7372 and
// RFC 7505 define codes for a sender's domain and for a host.
var exactCodes = codeTable( //nolint:gochecknoglobals // never changed
	codeRule{causeSender, []string{
		"2.252", "7.60", "7.502", "7.503", "7.509", "7.515", "7.750", // SendAs, a banned sender, a domain that is not registered or fails DMARC
		"7.20", "7.21", "7.22", "7.23", "7.24", "7.26", "7.27", // DKIM, SPF, several checks, a sender whose domain takes no mail
		"7.30", // Gmail: no DKIM
	}},
	codeRule{causeAccount, []string{"7.54", "7.57", "7.64", "7.139", "7.501"}}, // relaying, not authenticated, tenant attribution, SMTP AUTH disabled, a banned account
	codeRule{causeHost, []string{"7.25", "7.511", "7.708"}},
	codeRule{causeQuota, []string{"1.90", "7.232", "7.233", "7.705"}}, // recipients a day, a tenant's limits
	codeRule{causeRate, []string{"7.28", "7.508"}},
	codeRule{causeMailbox, []string{"2.121", "2.122"}}, // the recipient gets too much mail in an hour
)

// generalCodes are the codes of RFC 3463, RFC 4954, RFC 6531, RFC 7293 and RFC 7505. Relays use many of them loosely, so the text
// has precedence.
var generalCodes = codeTable( //nolint:gochecknoglobals // never changed
	codeRule{causeRecipient, []string{"1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.1", "2.3", "2.4", "4.1", "4.4", "7.2", "7.17", "7.18"}},
	codeRule{causeSender, []string{"1.7", "1.8"}},
	codeRule{causeMailbox, []string{"2.2"}},
	codeRule{causeSize, []string{"3.4"}},
	codeRule{causeAbility, []string{"3.3", "5.4", "6.7", "6.9", "6.10"}},
	codeRule{causeQuota, []string{"4.5"}}, // Gmail: 550 5.4.5
	codeRule{causeRecipients, []string{"5.3"}},
	codeRule{causeContent, []string{"6.0", "6.1", "6.2", "6.3", "6.4", "6.5", "6.6"}},
	codeRule{causeAccount, []string{"7.8", "7.12", "7.13", "7.14"}},
	codeRule{causeEncryption, []string{"7.10", "7.11"}},
)

func codeTable(rules ...codeRule) map[string]cause {
	table := map[string]cause{}
	for _, r := range rules {
		for _, code := range r.codes {
			table[code] = r.cause
		}
	}
	return table
}

// textRule assigns a cause to the text of a reply. The text is in lower case, on one line, without addresses and links.
type textRule struct {
	cause cause
	text  *regexp.Regexp
}

func newTextRule(c cause, patterns ...string) textRule {
	return textRule{c, regexp.MustCompile(strings.Join(patterns, "|"))}
}

// textRules are tried in this order: the more specific rule comes first.
var textRules = []textRule{
	// Too many recipients in one hour is a quota (SendGrid), else it is about the transaction (RFC 5321 4.5.3.1.10).
	newTextRule(causeQuota,
		`\b(daily|hourly|monthly|weekly)\b.{0,40}\b(limit|quota)`,              // Gmail 5.4.5, SES 454 "Daily message quota exceeded"
		`\b(sending|submission|relay|messaging) ?(limit|quota)s?\b`,            // Exchange "submission quota exceeded", SendGrid "messaging limits"
		`submissionquotaexceeded`,                                              // Exchange, in its diagnostic data
		`\b(limit|quota) for message recipients`,                               // Microsoft 365 5.1.90
		`\bmaximum credits|\b(insufficient|out of|no|not enough) credits?\b`,   // SendGrid 451
		`\b(recipients|messages) (received )?(this|per|in (this|an|one)) hour`, // SendGrid 452
		`\bmax(imum)? (defers and failures|emails?|messages?) per (hour|day)`,  // cPanel's Exim
		`\btenant has exceeded`, `\brecipient limit exceeded`,                  // Microsoft 365, Mailgun
	),
	newTextRule(causeRecipients, `\btoo many recipients\b`),
	newTextRule(causeGreylist, `\bgr[ae]y-?list`), // Postgrey, Exim, rspamd
	newTextRule(causeMailbox,
		`\bmail ?box (is |size )?(full|over|limit|quota|exceeded|busy|locked)`, `\b(is )?over ?quota\b`, `\b(mail ?box|user|disk|storage) quota\b`,
		`\bquota exceeded\b`, `\brecipient storage full`, `\breceiving mail (too quickly|at a rate)`, // Gmail 4.2.1 and 5.2.1
	),
	newTextRule(causeHELO, `\b(he|eh)lo\b.{0,40}\b(reject|invalid|argument|name|refused|not|host|bad)`, `\b(bad|invalid|illegal)\b.{0,30}\b(he|eh)lo\b`),
	newTextRule(causeHost, `\bclient host\b`, `\bclient\b.{0,20}\bbanned\b`),
	newTextRule(causeEncryption, `\b(starttls|tls|encryption|ssl)\b.{0,30}\b(first|required|needed|mandatory)\b`, `\b(must|need).{0,20}\b(starttls|tls)\b`),
	newTextRule(causeConnections,
		`\b(concurrent|simultaneous|parallel) .{0,20}(connection|session)s?\b`, // SES 421, Microsoft 365 432 and 421
		`\btoo many .{0,20}(connection|session)s?\b`, `\bthread limit\b`, `\b(connection|session) limit\b`, `\bmax(imum)? (number of )?(\w+ )?(connections|sessions)\b`,
	),
	newTextRule(causeRate,
		`\b(sending|submission|message|mail|connection|recipient) rate\b`, `\brate[- ]?limit`, `\brate\b.{0,20}\b(limit|exceed|too|high)`, `\bunusual rate\b`,
		`\bfrequency limited\b`, `\bthrottl`, `\btoo many (unauthenticated )?(messages|mails|e-?mails|requests|login|auth|new|commands)\b`, `\btoo (much mail|fast|quick(ly)?)\b`,
		`\bslow down\b`, `\bserver busy\b`, `\bunexpected volume\b`, // QQ, SES, Postfix's anvil, Microsoft 365 4.7.500, Yahoo TSS04
	),
	newTextRule(causeSender,
		`\bsender( e?-?mail)?( address)?( domain)? (is |was |has been )?(rejected|denied|refused|blocked|invalid|not|un\w+|must|does|could|verif\w+ failed)`, // Postfix, Exim, GMX
		`\bsender verify failed`, `\binvalid sender\b|\bbad sender\b`, `\bnot (owned by|local sender)\b`, // Postfix, mail.ru
		`\b(from|sender) address (does|is|must|was|has|not|you)\b`, `\bmail from\b.{0,30}\b(must|not|denied|reject|refus)`, // SendGrid, iCloud, QQ, 163
		`\bsend(ing)?( e?-?mail| messages?)? (as|on behalf|from th(at|is|e))\b`, `\bsendasdenied\b`, // Exchange 5.7.60, 5.2.252
		`\baddress is not verified\b|\bidentities failed\b`,                              // SES 554
		`\bsender (identity|signature)\b`, `\benvelope sender\b`, `\bdomain of sender\b`, // SendGrid, Postmark, qmail, Sendmail
		`\b(sender|from|sending|outbound)('s)? ?(domain|sender)\b`, `\b(unregistered|unverified) (sender|domain)s?\b`,
		`\bsender (is |you used )`, `\bbad outbound sender\b`, `\bdmarc\b|\bspf\b|\bdkim\b`,
	),
	newTextRule(causeAccount,
		`\brelay(ing)?( access)?( is)? (denied|not|prohibited|disallowed|forbidden|refused)`, `\b(un)?able to relay\b`, `\b(not|cannot|won't|refus\w+) (to )?relay\b`, `\brelay access\b`, `\brelay denied\b`,
		`\bdisallowed as\b`, `\ballowed rcpthosts\b`, `\bmust (first )?(authenticate|log ?in)`, `\bauthenticat(e|ion)\b.{0,20}\b(required|needed|first|failed|unsuccessful|credentials)`, // Zoho, qmail, SES
		`\brequires? (smtp )?authentication\b|\bproper authentication\b|\bnot authenticated\b|\bunauthenticated senders?\b`,
		`\bnot authori[sz]ed to (perform|relay|send|use)\b`, `\bnot (allowed|permitted) to send\b`, // SES, Mailgun
		`\b(your|this|sending) (smtp )?account\b|\baccount (is )?(not (yet )?activated|under review|suspended|pending|on probation)`, `\bsending (is |has been )?(paused|suspended|disabled)`,
		`\bconfiguration set\b`, `\bcredentials\b`,
	),
	newTextRule(causeContent, `\b(url|uri|link|surbl|uribl|attachments?|virus|malware|phish\w*|content|spam message|body|header)\b`),
	newTextRule(causeHost,
		`\bblock(ed)? (using|by|list)|\bbl[ao]ck-?list`, `\brbl\b|\bdnsbl\b|\bspamhaus\b|\bbarracuda\b|\bproofpoint\b`, `\breputation\b`,
		`\b(reverse|inverse) (dns|host ?name|lookup|mapping)|\bptr\b`, `\b(your|this|sending|connecting) (ip|host|server|network|mail server)\b`,
		`\bip( address)?( \S+)? (is |has been |was )?(blocked|listed|denied|banned|not)`, `\bbanned sending ip\b|\bfrom this ip\b|\bfrom your ip\b|\byour network\b`, // Microsoft 365 5.7.606, Yahoo BL21, Outlook S3150
	),
}

// looseRules apply after the codes.
var looseRules = []textRule{
	newTextRule(causeSize, `\b(message|mail|size)\b.{0,40}\b(too (big|large|long)|exceeds|maximum size|size limit)\b`),
	newTextRule(causeAbility, `\bsmtputf8\b|\b8bitmime\b|\bnon-ascii\b`),
	newTextRule(causeRecipient, `\brecipient address rejected\b|\b(user|mailbox|recipient|account)\b.{0,30}\b(unknown|not (exist|found)|does(n't| not) exist|disabled|inactive|unavailable)|\bunrouteable\b|\bno such (user|mailbox|recipient)`),
	newTextRule(causeAccount, `^access denied\b`),
}

// classify returns the cause of a refusal, or causeUnknown if neither its codes nor its text name one. Hide removes quotes of the
// mail from the text: the words of one message must not stop a gateway.
func classify(r reply, hide func(words []string) []string) cause {
	code := enhanced(r)
	if c, ok := exactCodes[code.number()]; ok {
		return c
	}
	if code.subject == 7 && code.detail >= 606 && code.detail <= 649 { // Microsoft 365: a banned address
		return causeHost
	}
	text := normalize(r.text, hide)
	if c := match(textRules, text, r, code); c != causeUnknown {
		return c
	}
	if c, ok := generalCodes[code.number()]; ok && isPlausible(c, r, code) {
		return c
	}
	if c := match(looseRules, text, r, code); c != causeUnknown {
		return c
	}
	switch r.code {
	case 523, 538:
		return causeEncryption
	case 530, 534, 535: // RFC 4954
		return causeAccount
	case 500, 502, 504, 555:
		return causeAbility
	case 503:
		if strings.Contains(text, "auth") {
			return causeAccount
		}
	}
	return causeUnknown
}

func match(rules []textRule, text string, r reply, code status) cause {
	for _, rule := range rules {
		if rule.text.MatchString(text) && isPlausible(rule.cause, r, code) {
			return rule.cause
		}
	}
	return causeUnknown
}

// isPlausible reports whether the rest of the reply permits the cause: some words and codes mean something else in other replies.
func isPlausible(c cause, r reply, code status) bool {
	temporary := r.code < 500
	switch c {
	case causeHELO:
		return r.code != 503 // "send HELO first"
	case causeQuota:
		return !code.is(2, 1) // how much the recipient may get
	case causeRate, causeConnections:
		return code.subject != 2 // x.2.x is the recipient's mailbox
	case causeAccount, causeHost:
		// "The account that you tried to reach is disabled" is the recipient's.
		return code.subject != 1 && code.subject != 2 && !(r.code == 454 && code.is(7, 0))
	case causeAbility:
		return !temporary
	case causeRecipient, causeContent, causeSize:
		return !temporary || c == causeRecipient && code.known()
	}
	return true
}

var (
	quotedAddress = regexp.MustCompile(`<[^<>]{0,320}>:?|\S*@\S*|\S*://\S*`)
	anyEnhanced   = regexp.MustCompile(`(^|\n)\s*[245]\.\d{1,3}\.\d{1,3}\b`)
)

// normalize returns the text of a reply in the form that textRules expect. It removes quotes of other servers: a relay that verifies
// recipients quotes the refusals of their servers, and these are not about the gateway.
func normalize(text string, hide func([]string) []string) string {
	text, _, _ = strings.Cut(text, " said: ")
	text = anyEnhanced.ReplaceAllString(text, " ")
	all := strings.Fields(strings.ToLower(quotedAddress.ReplaceAllString(text, " ")))
	if hide != nil {
		all = hide(all)
	}
	return strings.TrimLeft(strings.Join(all, " "), "-: ")
}
