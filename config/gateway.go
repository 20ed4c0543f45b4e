package config

import "time"

// SMTP is the section of a gateway of type smtp: a relay that takes mail by RFC 5321.
type SMTP struct {
	Limits `yaml:",inline"`

	Host               string        `yaml:"host" doc:"Name of the relay." example:"smtp.example.com"`
	Port               int           `yaml:"port" default:"587" doc:"Port of the relay: 587 for STARTTLS, 465 for implicit TLS, 25 for a relay of your own."`
	Username           string        `yaml:"username" doc:"User name; empty sends without authentication."`
	Password           Secret        `yaml:"password" doc:"Password of the user."`
	TLS                string        `yaml:"tls" default:"mandatory" enum:"mandatory,implicit,opportunistic,none" doc:"mandatory (STARTTLS or nothing is sent), implicit (TLS from the first byte), opportunistic (STARTTLS when offered) or none. A password goes over TLS only, unless the relay is on loopback."`
	CAFile             string        `yaml:"ca_file" doc:"PEM file with the CA of the relay; empty takes the system's."`
	From               string        `yaml:"from" doc:"Sender of mail that names none, as an RFC 5322 mailbox." example:"Acme <no-reply@acme.example>"`
	HELO               string        `yaml:"helo" doc:"Name by which we greet the relay: the public, fully qualified name of this host. Empty takes the host's name if it is fully qualified, else the address of the connection ([192.0.2.1])."`
	Connections        int           `yaml:"connections" default:"16" doc:"Maximum number of connections to the relay, and of messages in flight, per process. With 4 or more, one connection is reserved for lane urgent."`
	IdleTimeout        time.Duration `yaml:"idle_timeout" default:"30s" doc:"A connection idle for longer is closed."`
	ConnectionLifetime time.Duration `yaml:"connection_lifetime" default:"10m" doc:"A connection older than this is closed after its message."`
	Timeout            time.Duration `yaml:"timeout" default:"30s" doc:"Time after which the worker tries the next gateway of the route, if the relay does not have the message yet. Without another gateway, the timeouts below apply."`
	ConnectTimeout     time.Duration `yaml:"connect_timeout" default:"30s" doc:"How long a connection to the relay may take."`
	GreetingTimeout    time.Duration `yaml:"greeting_timeout" default:"5m" doc:"How long the relay may take for its greeting (RFC 5321 4.5.3.2: 5 minutes)."`
	CommandTimeout     time.Duration `yaml:"command_timeout" default:"5m" doc:"How long the relay may take for its reply to a command, and for each 64 KiB of a message. Connection, greeting and all commands together may take connect_timeout, greeting_timeout and twice this."`
	ReplyTimeout       time.Duration `yaml:"reply_timeout" default:"10m" doc:"Timeout for the relay's reply after the last byte of the message (RFC 5321: 10 minutes). No other gateway sends the message during this time. A rebalance or shutdown ends the wait within kafka.drain; on_ambiguous then decides."`
}

// Twilio is the section of a gateway of type twilio: Twilio's Messages API (https://www.twilio.com/docs/messaging/api/message-resource).
type Twilio struct {
	Limits `yaml:",inline"`

	AccountSID          string         `yaml:"account_sid" doc:"SID of the account (AC…)."`
	AuthToken           Secret         `yaml:"auth_token" doc:"Token of the account; or api_key and api_secret."`
	APIKey              string         `yaml:"api_key" doc:"SID of an API key (SK…)."`
	APISecret           Secret         `yaml:"api_secret" doc:"Secret of the API key."`
	From                string         `yaml:"from" doc:"Sender of messages that name none: an E.164 number, short code or alphanumeric sender id."`
	MessagingServiceSID string         `yaml:"messaging_service_sid" doc:"Messaging service (MG…) that chooses the sender; in place of from."`
	Senders             []string       `yaml:"senders" doc:"Further numbers and short codes of the account that messages name in payload.from. Texts to them are taken as those to from; docs/opt-outs.md says how Twilio brings them." example:"['+15550123456', '12345']"`
	Receipts            TwilioReceipts `yaml:"receipts" doc:"What became of messages, as Twilio says it later. Asked for when api.public_url is set."`
	BaseURL             string         `yaml:"base_url" default:"https://api.twilio.com" doc:"Where the API is. https, unless on loopback."`
	Timeout             time.Duration  `yaml:"timeout" default:"8s" doc:"Deadline of one attempt."`

	Callback string // where receipts go, by api.public_url; empty asks for none
	Inbound  string // where texts to the senders come in, by api.public_url; empty takes none
}

// FCM is the section of a gateway of type fcm: Firebase Cloud Messaging, HTTP v1
// (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages).
type FCM struct {
	Limits `yaml:",inline"`

	ProjectID       string        `yaml:"project_id" doc:"Firebase project; empty takes the one in the credentials."`
	CredentialsFile string        `yaml:"credentials_file" doc:"Service account JSON; empty takes Google's application default credentials."`
	Endpoint        string        `yaml:"endpoint" doc:"Where the API is, for a fake; empty is Google's. https, unless on loopback."`
	Token           Secret        `yaml:"token" doc:"Static OAuth token, for a fake; needs endpoint."`
	Timeout         time.Duration `yaml:"timeout" default:"8s" doc:"Deadline of one attempt."`
}

// Capture is the section of a gateway of type capture: messages become files, nothing is sent.
type Capture struct {
	Dir  string `yaml:"dir" doc:"Folder of the files; empty is data_dir/outbox."`
	Keep int    `yaml:"keep" default:"500" doc:"How many messages are kept; older ones are removed."`
}

// Sim is the section of a gateway of type sim: it plays a provider, judged by the recipient, for load tests and drills.
type Sim struct {
	Limits `yaml:",inline"`

	Latency time.Duration `yaml:"latency" default:"50ms" doc:"How long a send takes."`
	Timeout time.Duration `yaml:"timeout" default:"8s" doc:"Deadline of one attempt."`
}

// Gateway is one way out: its type, and the section of that type. The sections of the others are nil. In YAML the keys of
// the section stand beside type.
type Gateway struct {
	Type    string
	SMTP    *SMTP    `type:"smtp" channels:"email" doc:"A mail relay, by SMTP."`
	Twilio  *Twilio  `type:"twilio" channels:"sms" doc:"Twilio's Messages API, or what speaks like it."`
	FCM     *FCM     `type:"fcm" channels:"push" doc:"Firebase Cloud Messaging, HTTP v1."`
	HTTP    *HTTP    `type:"http" channels:"email,sms,push" doc:"Any provider's HTTP API, or an endpoint of your own, taught by this section; docs/gateway-http.md says how."`
	APNs    *APNs    `type:"apns" channels:"push" doc:"Apple's Push Notification service, by provider token, without Firebase between."`
	Capture *Capture `type:"capture" channels:"email,sms,push" doc:"Keeps messages as files and sends nothing."`
	Sim     *Sim     `type:"sim" channels:"email,sms,push" doc:"Plays a provider, for load tests and drills; sends nothing."`
}

// Limits are how much of g there may be; capture knows none.
func (g Gateway) Limits() Limits {
	if section, ok := g.section().(interface{ limits() Limits }); ok {
		return section.limits()
	}
	return Limits{}
}

func (l Limits) limits() Limits { return l }

// Timeout is the deadline of one attempt through g.
func (g Gateway) Timeout() time.Duration {
	switch {
	case g.SMTP != nil:
		return g.SMTP.Timeout
	case g.Twilio != nil:
		return g.Twilio.Timeout
	case g.FCM != nil:
		return g.FCM.Timeout
	case g.HTTP != nil:
		return g.HTTP.Timeout
	case g.APNs != nil:
		return g.APNs.Timeout
	case g.Sim != nil:
		return g.Sim.Timeout
	default:
		return 8 * time.Second
	}
}

// HasSender reports whether g knows a sender for messages that name none. What sends nothing needs none.
func (g Gateway) HasSender() bool {
	switch {
	case g.SMTP != nil:
		return g.SMTP.From != ""
	case g.Twilio != nil:
		return g.Twilio.From != "" || g.Twilio.MessagingServiceSID != ""
	case g.HTTP != nil:
		return g.HTTP.hasSender()
	default:
		return true
	}
}
