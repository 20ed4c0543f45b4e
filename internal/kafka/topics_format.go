package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// TopicFormats are the formats that [FormatTopics] knows.
func TopicFormats() []string { return []string{"text", "kafka-topics", "terraform"} }

// FormatTopics renders specs for people (text), for Kafka's own command (kafka-topics) or for Terraform's provider
// Mongey/kafka (terraform).
func FormatTopics(specs []TopicSpec, format string) (string, error) {
	switch format {
	case "text":
		return topicsText(specs), nil
	case "kafka-topics":
		return topicsCommands(specs), nil
	case "terraform":
		return topicsTerraform(specs), nil
	default:
		return "", fmt.Errorf("topics: format %q is not known; use one of %s", format, strings.Join(TopicFormats(), ", "))
	}
}

func topicsText(specs []TopicSpec) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tPARTITIONS\tREPLICATION\tSETTINGS")
	for _, s := range specs {
		replication := "default"
		if s.Replication > 0 {
			replication = fmt.Sprint(s.Replication)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", s.Name, s.Partitions, replication, strings.Join(s.settings(), " "))
	}
	w.Flush()
	return b.String()
}

func topicsCommands(specs []TopicSpec) string {
	var b strings.Builder
	for _, s := range specs {
		fmt.Fprintf(&b, `kafka-topics.sh --bootstrap-server "$BOOTSTRAP" --create --if-not-exists --topic %s --partitions %d`, s.Name, s.Partitions)
		if s.Replication > 0 {
			fmt.Fprintf(&b, " --replication-factor %d", s.Replication)
		}
		for _, c := range s.settings() {
			fmt.Fprintf(&b, " --config %s", c)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func topicsTerraform(specs []TopicSpec) string {
	var b strings.Builder
	if slices.ContainsFunc(specs, func(s TopicSpec) bool { return s.Replication <= 0 }) {
		b.WriteString("variable \"kafka_replication\" {\n  type = number\n}\n\n")
	}
	for i, s := range specs {
		if i > 0 {
			b.WriteByte('\n')
		}
		replication := "var.kafka_replication" // the provider has no word for the brokers' default
		if s.Replication > 0 {
			replication = fmt.Sprint(s.Replication)
		}
		fmt.Fprintf(&b, "resource \"kafka_topic\" %q {\n  name               = %q\n  partitions         = %d\n  replication_factor = %s\n",
			terraformName(s.Name), s.Name, s.Partitions, replication)
		b.WriteString("  config = {\n")
		for _, k := range slices.Sorted(maps.Keys(s.configs())) {
			fmt.Fprintf(&b, "    %q = %q\n", k, s.configs()[k])
		}
		if s.Replication <= 0 {
			fmt.Fprintf(&b, "    %q = var.kafka_replication >= %d ? \"%d\" : \"1\"\n", minInsync, safeReplication, safeMinInsync)
		}
		b.WriteString("  }\n}\n")
	}
	return b.String()
}

// terraformName makes an identifier. Kafka itself holds names that differ only in dots and underscores to be the same.
func terraformName(topic string) string { return "topic_" + strings.ReplaceAll(topic, ".", "_") }

// settings gives the topic's settings as name=value, in order.
func (s TopicSpec) settings() []string {
	c := s.configs()
	lines := make([]string, 0, len(c))
	for _, k := range slices.Sorted(maps.Keys(c)) {
		lines = append(lines, k+"="+c[k])
	}
	return lines
}
