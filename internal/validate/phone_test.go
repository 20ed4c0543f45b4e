package validate

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
)

// requireSameNumber compares dialable with what the library reads.
func requireSameNumber(t *testing.T, s string) (quick bool) {
	t.Helper()
	number, quick := dialable(s)
	if !quick {
		return false
	}
	want, err := phonenumbers.Parse(s, "")
	require.NoError(t, err, s)
	require.Equal(t, want.String(), number.String(), s)
	require.Equal(t, s, phonenumbers.Format(want, phonenumbers.E164))
	require.False(t, trunk(want), s)
	return true
}

func TestDialable_AgreesWithTheLibraryInEveryCountry(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	codes := phonenumbers.GetSupportedCallingCodes()
	require.Greater(t, len(codes), 200)
	for code := range codes {
		all := []string{"+" + strconv.Itoa(code) + "9999999999"}
		for _, region := range phonenumbers.GetRegionCodesForCountryCode(code) {
			for _, kind := range []phonenumbers.PhoneNumberType{phonenumbers.FIXED_LINE, phonenumbers.MOBILE, phonenumbers.TOLL_FREE} {
				if example := phonenumbers.GetExampleNumberForType(region, kind); example != nil {
					all = append(all, phonenumbers.Format(example, phonenumbers.E164))
				}
			}
		}
		for range 100 {
			s := []byte("+" + strconv.Itoa(code))
			for length := len(s) + r.IntN(16-len(s)) + 1; len(s) < length; {
				s = append(s, digits[r.IntN(len(digits))])
			}
			all = append(all, string(s))
		}
		for _, s := range slices.DeleteFunc(all, func(s string) bool { return !e164(s) }) {
			requireSameNumber(t, s)
		}
	}
}

func TestDialable_TakesUsualNumbers(t *testing.T) {
	for s, want := range map[string]bool{
		"+14155550123": true, "+4915112345678": true, "+447400123456": true, "+33612345678": true, "+919876543210": true, "+5491123456789": true,
		"+4901511234567": false, "+11234567890": false, "+390612345678": false, "+9991234567": false,
	} {
		require.Equal(t, want, requireSameNumber(t, s), s)
	}
}

// FuzzDialable: whatever the number, the quick reading is the library's.
func FuzzDialable(f *testing.F) {
	for _, s := range []string{"+14155550123", "+4901511234567", "+5491123456789", "+78001234567", "+3906123456", "+80012345678"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e164(s) {
			requireSameNumber(t, s)
		}
	})
}
