// Package config holds the settings of every role: one typed struct, filled from its defaults, a YAML file, the
// environment and flags, in that order.
//
// It alone knows how settings are spelt, which values make sense, and where secrets come from. Loading finds all faults
// at once and says each in a sentence that names the key and the remedy; no fault repeats a secret. Nothing is guessed:
// a key that is not known is a fault, since a setting that is silently ignored is found out when it is needed.
//
// The struct tags are the reference: yaml (the key), default, enum, doc and example. configs/laudspeaker.yaml and
// docs/configuration.md are written from them by "go run ./config/gen".
package config

import "time"

// Config is everything that can be set.
type Config struct {
	DataDir      string             `yaml:"data_dir" default:"./data" doc:"Folder of what this host keeps: the embedded broker's log and captured messages. It is made with mode 0700."`
	API          API                `yaml:"api" doc:"The HTTP API (serve-api, all)."`
	Admin        Admin              `yaml:"admin" doc:"Health and metrics, in every role."`
	Log          Log                `yaml:"log" doc:"Logs go to standard error. Payloads are never logged."`
	Kafka        Kafka              `yaml:"kafka" doc:"The bus. With no brokers the role all brings its own, for a single host."`
	Status       Status             `yaml:"status" doc:"What is kept of every notification's fate (serve-api, all)."`
	ExpiresAfter ExpiresAfter       `yaml:"expires_after" doc:"How long a notification without expires_at is worth delivering, counted from send_at."`
	SMS          SMS                `yaml:"sms" doc:"Opt-outs by text message, and what recipients write."`
	Lanes        Lanes              `yaml:"lanes" doc:"What part of each gateway's concurrency and rate is whose, in percent."`
	Gateways     map[string]Gateway `yaml:"gateways" doc:"Ways out, each under a name of your own. The type says which keys it has."`
	Channels     Channels           `yaml:"channels" doc:"What each channel uses. A channel without a gateway is off; with no gateway at all, the role all captures."`

	explicit map[string]bool
}

// API is the section of the HTTP API.
type API struct {
	Listen         string        `yaml:"listen" default:"127.0.0.1:8080" doc:"Address of the API. One that is not loopback needs keys."`
	ShedBulkAfter  time.Duration `yaml:"shed_bulk_after" default:"0s" doc:"When lane bulk of a channel would take longer than this to drain, or lane urgent a tenth of it, new bulk is refused with 429 until it takes half of that: before what is urgent suffers. 0s refuses none."`
	MaxBody        Size          `yaml:"max_body" default:"5MiB" doc:"Largest request body. Topics are made to take it with 256 KiB to spare."`
	Keys           []APIKey      `yaml:"keys" doc:"Who may call; written by: laudspeaker keys generate NAME. None: only callers on this host." example:"[{id: '3f9c2b7a', name: shop, sha256: 64 hex digits, scopes: [send, read]}]"`
	PublicURL      string        `yaml:"public_url" doc:"Address under which providers reach this API, through a proxy of your own or a tunnel: they call it to say what became of messages. Empty asks for no receipts. https, unless on loopback; what it is set to is also the workers' business." example:"https://notify.example.com"`
	AllowAnonymous bool          `yaml:"allow_anonymous" default:"false" doc:"Serves an address that is not loopback without keys. Only behind a proxy of your own that authenticates."`
}

// APIKey is one caller. The key itself is not kept, only its SHA-256.
type APIKey struct {
	ID     string   `yaml:"id" doc:"The part of the key between its first two underscores."`
	Name   string   `yaml:"name" doc:"Whose key it is, for logs."`
	SHA256 string   `yaml:"sha256" doc:"SHA-256 of the whole key, 64 hex digits."`
	Scopes []string `yaml:"scopes" doc:"What it may do: send, read, admin."`
}

// Admin is the section of the operator's listener.
type Admin struct {
	Listen string `yaml:"listen" default:"127.0.0.1:9100" doc:"Address of /livez, /readyz and /metrics. When it is left alone and taken, the next free port is used and logged."`
}

// Log is the section of logging.
type Log struct {
	Level      string `yaml:"level" default:"info" enum:"debug,info,warn,error" doc:"Least level that is logged."`
	Format     string `yaml:"format" default:"auto" enum:"auto,json,console" doc:"auto is console on a terminal and json elsewhere."`
	Recipients string `yaml:"recipients" default:"masked" enum:"masked,full,none" doc:"How recipients are logged: a***@example.com, whole, or not at all."`
}

// ExpiresAfter is how long a notification lives when it does not say so itself, by lane.
type ExpiresAfter struct {
	Urgent time.Duration `yaml:"urgent" default:"1h" doc:"Lane urgent."`
	Normal time.Duration `yaml:"normal" default:"24h" doc:"Lane normal."`
	Bulk   time.Duration `yaml:"bulk" default:"72h" doc:"Lane bulk."`
}

// Lanes is the section of the classes of urgency: what part of a gateway is theirs when all are busy.
type Lanes struct {
	Urgent int `yaml:"urgent" default:"20" doc:"Percent for lane urgent. What is idle is lent to the others; urgent is always served first."`
	Normal int `yaml:"normal" default:"60" doc:"Percent for lane normal."`
	Bulk   int `yaml:"bulk" default:"20" doc:"Percent for lane bulk."`
}

// Channels has a section for each channel.
type Channels struct {
	Email Channel `yaml:"email" defaults:"topic=email_topic" doc:"E-mail, by a gateway of type smtp, http, capture or sim."`
	SMS   Channel `yaml:"sms" defaults:"topic=sms_topic" doc:"Text messages, by a gateway of type twilio, http, capture or sim."`
	Push  Channel `yaml:"push" defaults:"topic=push_topic" doc:"Push messages, by a gateway of type fcm, apns, http, capture or sim."`
}

// Channel is the section of one channel.
type Channel struct {
	Topic              string        `yaml:"topic" doc:"Topic of its jobs of lane normal. The names of its other topics follow from it."`
	Concurrency        int           `yaml:"concurrency" default:"64" doc:"Attempts that run at once at most, in each process and lane. Up to 256 more (1 MiB) may wait until Kafka has acknowledged their outcomes: a crash repeats at most the sum of both. It also bounds what is at one gateway at once, unless the gateway says so itself."`
	Gateways           []string      `yaml:"gateways" doc:"Names of the gateways that send, the first to be asked first; the next one takes over when it fails. With weights (mail=70) an attempt begins at one that is drawn by them." example:"[mail, backup]"`
	Ordering           string        `yaml:"ordering" default:"key" enum:"key,none,strict" doc:"What is promised of messages with the same key. key: one after the other, but one that has to be tried again later may be overtaken. none: at once. strict: one that fails is tried again in its place, and those behind it wait."`
	StrictWait         time.Duration `yaml:"strict_wait" default:"60s" doc:"With ordering strict: how long a message that fails may keep others waiting. Then it is a dead letter with the reason order."`
	DeadLetterRejected bool          `yaml:"dead_letter_rejected" default:"false" doc:"Also writes a dead letter for what was rejected because of its recipient (no such user, opted out)."`
	SuppressGone       bool          `yaml:"suppress_gone" default:"true" doc:"Sends nothing more to a recipient of whom a gateway said that there is no such user, or that they opted out. Lifted by: laudspeaker unsuppress."`
	Retries            Retries       `yaml:"retries" doc:"How often and when a message is tried again, by lane. Waits grow twofold, with full jitter."`
}

// Retries has a budget for each lane.
type Retries struct {
	Urgent Retry `yaml:"urgent" defaults:"attempts=0 first=1s longest=30s" doc:"Lane urgent."`
	Normal Retry `yaml:"normal" defaults:"attempts=8 first=30s longest=30m" doc:"Lane normal: about half an hour."`
	Bulk   Retry `yaml:"bulk" defaults:"attempts=8 first=6m longest=6h" doc:"Lane bulk: about six hours."`
}

// Retry is one budget.
type Retry struct {
	Attempts int           `yaml:"attempts" doc:"Attempts in all; 0 = until it expires."`
	First    time.Duration `yaml:"first" doc:"Longest wait after the first attempt."`
	Longest  time.Duration `yaml:"longest" doc:"Longest wait at all."`
}

// ByName gives the section of each channel.
func (c Channels) ByName() map[string]Channel {
	return map[string]Channel{"email": c.Email, "sms": c.SMS, "push": c.Push}
}

// ChannelNames lists the channels in the order in which they are shown to people.
func ChannelNames() []string { return []string{"email", "sms", "push"} }

// IsSet reports whether the file, the environment or a flag says something about key.
func (c *Config) IsSet(key string) bool { return c.explicit[key] }
