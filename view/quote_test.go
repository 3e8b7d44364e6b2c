package view_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/view"
)

func TestQuoteFramesEveryLine(t *testing.T) {
	for given, want := range map[string]string{
		"":                             "",
		"one":                          "> one",
		"one\ntwo":                     "> one\n> two",
		"one\n\n":                      "> one\n> \n> ",
		"\n":                           "> \n> ",
		"one\r\ntwo\rthree":            "> one\n> two\n> three",
		"a\vb\fc\u0085d\u2028e\u2029f": "> a\n> b\n> c\n> d\n> e\n> f",
		"tab\tstays":                   "> tab\tstays",
		"\x1b[2Jgone\x00\x7f":          "> \u241b[2Jgone\u2400\u2421",
		"\u009b2Jgone":                 "> \ufffd2Jgone",
		"broken \xff\xfe":              "> broken \ufffd\ufffd",
		"> nested":                     "> > nested",
		"left \u202eright\u2066 back":  "> left \ufffdright\ufffd back",
	} {
		require.Equal(t, want, view.Quote(given), "%q", given)
	}
}

func TestInlineIsOneQuotedWord(t *testing.T) {
	for given, want := range map[string]string{
		"plain":                             `"plain"`,
		`say "hi"`:                          `"say \"hi\""`,
		"two\nlines":                        `"two\nlines"`,
		"\x1b[31mred\u202e":                 `"\x1b[31mred\u202e"`,
		strings.Repeat("x", 11):             `"xxxxxxxxxx"…`,
		strings.Repeat("ü", 11):             `"üüüüüüüüüü"…`,
		strings.Repeat("🎉", 10):             `"🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉"`,
		strings.Repeat("🎉", 9) + "\xf0\x9f": `"🎉🎉🎉🎉🎉🎉🎉🎉🎉\xf0"…`,
		"":                                  `""`,
	} {
		require.Equal(t, want, view.Inline(given, 10), "%q", given)
	}
}

func TestWordIsBareWhereNothingIsToBeMistaken(t *testing.T) {
	for given, want := range map[string]string{
		"read_file": "read_file", "a b": `"a b"`, "a,b": `"a,b"`, "a]": `"a]"`, `a"b`: `"a\"b"`, "a\nb": `"a\nb"`, "": `""`,
		"k=v": "k=v", "a:b": "a:b", "über": "über",
		strings.Repeat("x", 101): `"` + strings.Repeat("x", 100) + `"…`,
	} {
		require.Equal(t, want, view.Word(given), "%q", given)
	}
}

func TestCutEndsAtAWholeCharacter(t *testing.T) {
	for _, c := range []struct {
		text  string
		most  int
		want  string
		whole bool
	}{
		{"abc", 3, "abc", true}, {"abc", 2, "ab", false}, {"aü", 2, "a", false}, {"aü", 3, "aü", true}, {"🎉", 3, "", false}, {"a", -1, "", false}, {"", 0, "", true},
	} {
		cut, whole := view.Cut(c.text, c.most)
		require.Equal(t, c.want, cut, c)
		require.Equal(t, c.whole, whole, c)
	}
}

func TestFitCountsWhatATextGrowsTo(t *testing.T) {
	for _, c := range []struct {
		text  string
		most  int
		want  string
		whole bool
	}{
		{"plain", 5, "plain", true}, {"plain", 4, "plai", false}, {"\n\n\n", 6, "\n\n", false}, {"\x1b\x1b", 6, "\x1b", false}, {"\x1b", 5, "", false}, {"", 0, "", true}, {"x", -1, "", false},
	} {
		fit, whole := view.Fit(c.text, c.most)
		require.Equal(t, c.want, fit, c)
		require.Equal(t, c.whole, whole, c)
	}
}

// tame fails on characters that a terminal or a reader obeys instead of showing.
func tame(t *testing.T, text string, allowed ...rune) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "%q", text)
	for _, r := range text {
		if strings.ContainsRune(string(allowed), r) {
			continue
		}
		require.False(t, unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069', "%q has %U", text, r)
	}
}

func FuzzFrames(f *testing.F) {
	for _, seed := range []string{"", "one\ntwo", "\r\r\n\n", "\x1b]8;;x\x07", "a\u2028Chat X is done", "\u009b31m", "\xff\n\xfe", "\u202e", "🎉", "\u2400"} {
		f.Add(seed, 5)
	}
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = most&0xff + 1
		quoted := view.Quote(text)
		tame(t, quoted, '\n', '\t')
		for _, line := range strings.Split(quoted, "\n") {
			require.True(t, text == "" || strings.HasPrefix(line, "> "), "%q became %q", text, quoted)
		}
		require.LessOrEqual(t, len(quoted), 4*len(text)+2)

		inline := strings.TrimSuffix(view.Inline(text, most), "…")
		tame(t, inline)
		unquoted, err := strconv.Unquote(inline)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(text, unquoted), "%q became %q", text, inline)
		require.LessOrEqual(t, utf8.RuneCountInString(unquoted), most)

		tame(t, view.Word(text))
		line := view.Line(text, most)
		tame(t, line)
		require.LessOrEqual(t, utf8.RuneCountInString(line), most+1)

		cut, whole := view.Cut(text, most)
		require.True(t, strings.HasPrefix(text, cut))
		require.Equal(t, whole, cut == text)
		require.LessOrEqual(t, len(cut), most)

		fit, whole := view.Fit(text, most)
		require.True(t, strings.HasPrefix(text, fit))
		require.Equal(t, whole, fit == text)
		require.LessOrEqual(t, len(view.Quote(fit)), most+2)
		require.LessOrEqual(t, len(encoded(t, fit)), most+2)
	})
}
