package notify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTextSize(t *testing.T) {
	for _, c := range []struct {
		text            string
		units, segments int
		encoding        string
	}{
		{"", 0, 1, EncodingGSM7},
		{"Hello Ä€", 8, 1, EncodingGSM7},
		{strings.Repeat("a", 160), 160, 1, EncodingGSM7},
		{strings.Repeat("a", 161), 161, 2, EncodingGSM7},
		{strings.Repeat("a", 306), 306, 2, EncodingGSM7},
		{strings.Repeat("a", 307), 307, 3, EncodingGSM7},
		{strings.Repeat("€", 80), 80, 1, EncodingGSM7},
		{strings.Repeat("€", 81), 81, 2, EncodingGSM7},
		{strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152), 305, 3, EncodingGSM7}, // the euro sign is not split
		{"ł", 1, 1, EncodingUCS2},
		{strings.Repeat("a", 69) + "ł", 70, 1, EncodingUCS2},
		{strings.Repeat("a", 70) + "ł", 71, 2, EncodingUCS2},
		{strings.Repeat("a", 133) + "ł", 134, 2, EncodingUCS2},
		{strings.Repeat("😀", 35), 70, 1, EncodingUCS2},
		{strings.Repeat("😀", 67), 134, 3, EncodingUCS2}, // 33 emoji a part: a pair is not split
		{strings.Repeat("😀", 801), 1602, 25, EncodingUCS2},
		{"\xff", 1, 1, EncodingUCS2},
	} {
		require.Equal(t, TextSize{c.units, c.segments, c.encoding}, SizeOf(c.text), "%.20s", c.text)
	}
	require.Equal(t, "the text has 161 UTF-16 units and takes 2 segments in GSM-7", SizeOf(strings.Repeat("a", 161)).Warning())
	require.Equal(t, []string{"the text has 1 UTF-16 unit and takes 1 segment in UCS-2"}, (&Message{SMS: &SMS{Body: "ł"}}).Warnings())
	require.Empty(t, (&Message{SMS: &SMS{Body: "a", MediaURLs: []string{"https://a.example/1.png"}}}).Warnings())
	require.Len(t, []rune(gsmBasic), 127) // 128 without the escape
}
