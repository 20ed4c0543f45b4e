package config

import (
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check finds what is spelt right and makes no sense.
func (c *Config) check(fs *Faults) {
	for _, leaf := range leaves("", c) {
		checkEnum(fs, leaf)
	}
	fs.unless(c.DataDir != "", "data_dir must name a folder, such as ./data")
	c.checkAPI(fs)
	checkListen(fs, "admin.listen", c.Admin.Listen)
	fs.unless(c.ExpiresAfter.Urgent > 0 && c.ExpiresAfter.Normal > 0 && c.ExpiresAfter.Bulk > 0, "expires_after.urgent, normal and bulk must be longer than 0s, such as 24h")
	fs.unless(c.Lanes.Urgent > 0 && c.Lanes.Normal > 0 && c.Lanes.Bulk > 0 && c.Lanes.Urgent+c.Lanes.Normal+c.Lanes.Bulk <= 100,
		"lanes.urgent, normal and bulk must be percents above 0 that make 100 at most together")
	c.Status.check(fs)
	c.SMS.check(fs)
	c.Kafka.check(fs)
	for _, name := range slices.Sorted(maps.Keys(c.Gateways)) {
		c.checkGateway(fs, name)
	}
	c.checkChannels(fs)
}

func checkEnum(fs *Faults, l leaf) {
	if allowed, ok := l.tag.Lookup("enum"); ok && !slices.Contains(strings.Split(allowed, ","), l.field.String()) {
		fs.add("%s must be one of %s", l.key, strings.ReplaceAll(strings.TrimPrefix(allowed, ","), ",", ", "))
	}
}

func checkListen(fs *Faults, key, address string) {
	_, port, err := net.SplitHostPort(address)
	n, perr := strconv.Atoi(port)
	fs.unless(err == nil && perr == nil && n >= 0 && n <= 65535, "%s must be an address with a port, such as 127.0.0.1:8080", key)
}

func (c *Config) checkAPI(fs *Faults) {
	a := c.API
	checkListen(fs, "api.listen", a.Listen)
	if a.PublicURL != "" {
		checkURL(fs, "api.public_url", a.PublicURL)
	}
	fs.unless(a.MaxBody >= 1<<10 && a.MaxBody <= 32<<20, "api.max_body must be between 1KiB and 32MiB")
	fs.unless(a.ShedBulkAfter == 0 || a.ShedBulkAfter >= time.Minute, "api.shed_bulk_after must be 0s (bulk is never refused) or 1m or longer, such as 2h")
	host, _, err := net.SplitHostPort(a.Listen)
	fs.unless(err != nil || loopback(host) || len(a.Keys) > 0 || a.AllowAnonymous,
		"api.listen is not loopback and there are no api.keys, so anybody could send: make a key by laudspeaker keys generate NAME, or set api.allow_anonymous: true behind a proxy of your own that authenticates")
	ids := map[string]bool{}
	for i, k := range a.Keys {
		fs.unless(keyID.MatchString(k.ID), "api.keys, entry %d: id must be 1 to 32 letters and digits", i+1)
		fs.unless(sha256Hex.MatchString(k.SHA256), "api.keys, entry %d: sha256 must be 64 hex digits, as laudspeaker keys generate NAME prints them; the key itself does not belong here", i+1)
		fs.unless(!ids[k.ID], "api.keys, entry %d: another entry has the same id; make a new key by laudspeaker keys generate NAME", i+1)
		fs.unless(len(k.Scopes) > 0, "api.keys, entry %d: scopes must name what the key may do: send, read, admin", i+1)
		for _, s := range k.Scopes {
			fs.unless(s == "send" || s == "read" || s == "admin", "api.keys, entry %d: a scope is not known; there are send, read and admin", i+1)
		}
		ids[k.ID] = true
	}
}

var (
	keyID     = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)
	sha256Hex = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`) // Kafka takes 249; ours add ".delay.30s" and the like
)

func (c *Config) checkChannels(fs *Faults) {
	topics, sections, routed := map[string]string{}, c.Channels.ByName(), false
	for _, name := range ChannelNames() {
		ch, key := sections[name], "channels."+name
		fs.unless(topicName.MatchString(ch.Topic) && strings.Trim(ch.Topic, ".") != "", "%s.topic must be 1 to 200 letters, digits, dots, - and _", key)
		for _, topic := range []string{ch.Topic, ch.Topic + ".urgent", ch.Topic + ".bulk"} {
			if other, taken := topics[topic]; taken && other != name {
				fs.add("%s.topic is also that of channels.%s: give each channel a topic of its own", key, other)
				break
			}
			topics[topic] = name
		}
		fs.unless(ch.Concurrency >= 1 && ch.Concurrency <= 4096, "%s.concurrency must be between 1 and 4096", key)
		fs.unless(ch.StrictWait > 0, "%s.strict_wait must be longer than 0s, such as 60s", key)
		ch.Retries.check(fs, key+".retries")
		routed = c.checkRoute(fs, name, ch.Gateways) || routed
	}
	fs.unless(routed || len(c.Gateways) == 0, "gateways are configured, but no channel names one, so nothing could be sent: set for example channels.email.gateways: [NAME]")
}

func (r Retries) check(fs *Faults, key string) {
	for i, retry := range []Retry{r.Urgent, r.Normal, r.Bulk} {
		lane := []string{"urgent", "normal", "bulk"}[i]
		fs.unless(retry.Attempts >= 0, "%s.%s.attempts must not be negative; 0 = until the message expires", key, lane)
		fs.unless(retry.First > 0 && retry.Longest >= retry.First, "%s.%s.first must be longer than 0s, and longest not shorter than first", key, lane)
	}
}

// checkRoute reports whether the channel names gateways.
func (c *Config) checkRoute(fs *Faults, channel string, entries []string) bool {
	seen, weighted := map[string]bool{}, 0
	for _, entry := range entries {
		name, weight, err := routeEntry(entry)
		if weight > 0 {
			weighted++
		}
		if err != nil {
			fs.add("channels.%s.gateways: the weight of %q must be a whole number between 1 and 1000, such as %s=70", channel, name, name)
			continue
		}
		fs.unless(!seen[name], "channels.%s.gateways names %q twice", channel, name)
		seen[name] = true
		c.checkOutlet(fs, channel, name)
	}
	fs.unless(weighted == 0 || weighted == len(entries), "channels.%s.gateways gives weights to some gateways only: give all of them one, or none", channel)
	return len(entries) > 0
}

func (c *Config) checkOutlet(fs *Faults, channel, gateway string) {
	g, ok := c.Gateways[gateway]
	switch {
	case !ok:
		names := slices.Sorted(maps.Keys(c.Gateways))
		fs.unless(len(names) > 0, "channels.%s.gateways names %q, and no gateway is configured: define gateways.%s", channel, gateway, gateway)
		fs.unless(len(names) == 0, "channels.%s.gateways names %q, which is not among gateways: configured are %s", channel, gateway, strings.Join(names, ", "))
	case g.section() != nil && !g.Serves(channel):
		var types []string
		for _, t := range gatewayTypes() {
			if slices.Contains(t.channels, channel) {
				types = append(types, t.name)
			}
		}
		fs.add("channels.%s.gateways names %q of type %s, which cannot deliver %s: it takes %s", channel, gateway, g.Type, channel, strings.Join(types, ", "))
	}
}

func (k Kafka) check(fs *Faults) {
	for _, b := range k.Brokers {
		host, port, err := net.SplitHostPort(b)
		n, perr := strconv.Atoi(port)
		fs.unless(err == nil && perr == nil && host != "" && n > 0 && n <= 65535, "kafka.brokers must be a list of host:port, such as [kafka-1:9092]")
	}
	fs.unless(k.Prefix == "" || topicName.MatchString(k.Prefix) && len(k.Prefix) <= 40, "kafka.prefix must be at most 40 letters, digits, dots, - and _")
	fs.unless(k.Partitions >= 1 && k.Partitions <= 10000, "kafka.partitions must be between 1 and 10000")
	fs.unless(k.Replication >= 0 && k.Replication <= 100, "kafka.replication must be the number of replicas, or 0 for the brokers' own default")
	fs.unless((k.TLS.CertFile == "") == (k.TLS.KeyFile == ""), "kafka.tls.cert_file and kafka.tls.key_file belong together: set both or none")
	k.checkTiers(fs)
	fs.unless(k.SessionTimeout >= 6*time.Second, "kafka.session_timeout must be 6s or more: brokers take no less")
	fs.unless(0 < k.Drain && k.Drain < k.RebalanceTimeout && k.RebalanceTimeout < k.ReadTimeout,
		"kafka.drain, kafka.rebalance_timeout and kafka.read_timeout must rise in this order (now %s, %s, %s): otherwise a rebalance ends before the drain, or the connection before the rebalance",
		duration(k.Drain), duration(k.RebalanceTimeout), duration(k.ReadTimeout))
	k.checkSASL(fs)
	checkListen(fs, "kafka.embedded.listen", k.Embedded.Listen)
	host, _, err := net.SplitHostPort(k.Embedded.Listen)
	fs.unless(err != nil || loopback(host), "kafka.embedded.listen must be on loopback, such as 127.0.0.1:9092: the embedded broker asks nobody who they are; for more than one host set kafka.brokers")
	fs.unless(k.Embedded.Partitions >= 1 && k.Embedded.Partitions <= 100, "kafka.embedded.partitions must be between 1 and 100")
	fs.unless(k.Embedded.MaxBytes >= 16<<20, "kafka.embedded.max_bytes must be 16MiB or more")
}

func (k Kafka) checkTiers(fs *Faults) {
	tiers := k.Tiers()
	rising := len(tiers) > 0 && tiers[0] >= time.Millisecond
	for i := 1; i < len(tiers); i++ {
		rising = rising && tiers[i] > tiers[i-1]
	}
	fs.unless(rising && len(tiers) == len(k.DelayTiers) && len(tiers) <= 10,
		"kafka.delay_tiers must be 1 to 10 durations that rise, such as [5s, 30s, 3m, 20m, 2h, 12h, 72h]")
}

func (k Kafka) checkSASL(fs *Faults) {
	s := k.SASL
	if s.Mechanism == "" {
		fs.unless(s.Username == "" && s.Password == "", "kafka.sasl.username or password is set without kafka.sasl.mechanism: set it to plain, scram-sha-256 or scram-sha-512")
		return
	}
	fs.unless(s.Username != "" && s.Password != "", "kafka.sasl.mechanism needs kafka.sasl.username and kafka.sasl.password")
	remote := slices.ContainsFunc(k.Brokers, func(b string) bool {
		host, _, err := net.SplitHostPort(b)
		return err == nil && !loopback(host)
	})
	fs.unless(s.Mechanism != "plain" || k.TLS.On() || !remote,
		"kafka.sasl.mechanism plain would send the password in the clear: set kafka.tls.enabled: true, or use scram-sha-512")
}

// loopback reports whether nobody outside this host is reached by the name.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// duration writes d without its empty ends: 24h, not 24h0m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
