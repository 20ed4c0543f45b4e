package validate

import (
	"regexp"
	"strconv"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// phonenumbers.Parse matches a dozen regular expressions, because it accepts numbers as people write them. An E.164 number needs
// one: whether the national number begins with a prefix that is dialled within the country.

// dialable returns the number of s, an E.164 number, and reports whether [phonenumbers.Parse] would return the same number. It
// reports false for every number that needs a closer look: an unknown country code, or a national number that begins with a
// prefix that is dialled within the country.
func dialable(s string) (*phonenumbers.PhoneNumber, bool) {
	code, national := int32(0), s[1:]
	for range 3 { // no country code is longer
		code, national = 10*code+int32(national[0]-'0'), national[1:]
		prefix := nationalPrefixes()[code]
		if prefix == nil {
			continue
		}
		if national[0] == '0' || code == 1 && national[0] == '1' {
			return nil, false
		}
		if at := prefix().FindStringIndex(national); at != nil && at[1] > 0 {
			return nil, false
		}
		number, err := strconv.ParseUint(national, 10, 64)
		return &phonenumbers.PhoneNumber{CountryCode: &code, NationalNumber: &number}, err == nil
	}
	return nil, false
}

// nationalPrefixes returns for each country code a regular expression for the prefixes that are dialled within the country. It is
// compiled at its first use.
var nationalPrefixes = sync.OnceValue(func() []func() *regexp.Regexp { //nolint:gochecknoglobals // never changed
	byCode := make([]func() *regexp.Regexp, 1000)
	all, err := phonenumbers.MetadataCollection()
	if err != nil { // not reached: the library has read its data already
		return byCode
	}
	for _, country := range all.GetMetadata() {
		code := int(country.GetCountryCode())
		if code < len(byCode) && phonenumbers.GetRegionCodeForCountryCode(code) == country.GetId() { // else another country's rules hold for the code
			byCode[code] = sync.OnceValue(func() *regexp.Regexp {
				return regexp.MustCompile("^(?:" + country.GetNationalPrefixForParsing() + ")")
			})
		}
	}
	return byCode
})
