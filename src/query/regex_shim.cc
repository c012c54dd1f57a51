// RE2 with Go's syntax and meaning. What differs between the two and how it is closed:
//   (?<name>…)   Go ≥ 1.22 takes it, RE2 of 2022 does not: rewritten to (?P<name>…)
//   \C           RE2 takes it, Go does not: refused
//   invalid UTF-8 in the text: Go reads each such byte as one character; RE2 never matches it. A text that did not
//   match and is not valid UTF-8 is tried once more, byte by byte (Latin-1), by a second program made when first needed.
#include <memory>
#include <mutex>
#include <new>
#include <re2/re2.h>
#include <string>
#include <vector>

extern "C" {
#include "base/utf8.h"
#include "query/regex.h"
}

struct regex {
    std::unique_ptr<RE2> utf8;
    mutable std::unique_ptr<RE2> latin1;
    mutable std::once_flag once;
    std::vector<std::string> names; // [group]
    RE2::Anchor anchor;
};

namespace
{

constexpr int64_t program_memory = 64 << 20;

RE2::Options options(RE2::Options::Encoding encoding)
{
    RE2::Options o;
    o.set_log_errors(false);
    o.set_max_mem(program_memory);
    o.set_encoding(encoding);
    return o;
}

// Copies the pattern, rewriting (?<name>; false at a \C. Inside \Q…\E and […] nothing is special.
bool rewrite(re2::StringPiece in, std::string *out)
{
    bool in_class = false;
    for (size_t i = 0; i < in.size(); i++) {
        if (in[i] == '\\' && i + 1 < in.size()) {
            if (in[i + 1] == 'C')
                return false;
            if (in[i + 1] == 'Q' && !in_class) {
                size_t end = in.find("\\E", i + 2);
                end = end == re2::StringPiece::npos ? in.size() : end + 2;
                out->append(in.data() + i, end - i);
                i = end - 1;
                continue;
            }
            out->append(in.data() + i, 2);
            i++;
            continue;
        }
        if (in_class) {
            in_class = in[i] != ']';
        } else if (in[i] == '[') {
            in_class = true;
            out->push_back('[');
            if (i + 1 < in.size() && in[i + 1] == '^')
                out->push_back(in[++i]);
            if (i + 1 < in.size() && in[i + 1] == ']') // a leading ] is an ordinary character
                out->push_back(in[++i]);
            continue;
        } else if (in.substr(i).starts_with("(?<") && i + 3 < in.size() && in[i + 3] != '=' && in[i + 3] != '!') {
            out->append("(?P<");
            i += 2;
            continue;
        }
        // [[:word:]] inside a class: its ] does not end the outer one
        if (in_class && in[i] == '[' && i + 1 < in.size() && in[i + 1] == ':') {
            size_t end = in.find(":]", i + 2);
            if (end != re2::StringPiece::npos) {
                out->append(in.data() + i, end + 2 - i);
                i = end + 1;
                continue;
            }
        }
        out->push_back(in[i]);
    }
    return true;
}

// The byte-wise twin, or null when the pattern has none.
const RE2 *bytewise(const struct regex *r)
{
    std::call_once(r->once, [r] { r->latin1.reset(new RE2(r->utf8->pattern(), options(RE2::Options::EncodingLatin1))); });
    return r->latin1->ok() ? r->latin1.get() : nullptr;
}

bool match(const struct regex *r, struct slice text, re2::StringPiece *groups, int n)
{
    re2::StringPiece s(text.p ? text.p : "", text.n);
    if (r->utf8->Match(s, 0, s.size(), r->anchor, groups, n))
        return true;
    if (utf8_valid(text))
        return false;
    const RE2 *l = bytewise(r);
    return l && l->Match(s, 0, s.size(), r->anchor, groups, n);
}

} // namespace

extern "C" enum errc regex_new(struct regex **out, struct slice pattern, bool anchored, struct error *err)
{
    *out = nullptr;
    try {
        std::string text;
        if (!rewrite(re2::StringPiece(pattern.p ? pattern.p : "", pattern.n), &text))
            return ERR(err, SYNTAX, "error parsing regexp: \\C (a single byte) is not supported");
        auto r = std::make_unique<struct regex>();
        r->anchor = anchored ? RE2::ANCHOR_BOTH : RE2::UNANCHORED;
        r->utf8 = std::make_unique<RE2>(text, options(RE2::Options::EncodingUTF8));
        if (!r->utf8->ok())
            return ERR(err, SYNTAX, "error parsing regexp `%.*s`: %s", (int)(pattern.n < 120 ? pattern.n : 120), pattern.p,
                       r->utf8->error().c_str());
        r->names.resize((size_t)r->utf8->NumberOfCapturingGroups() + 1);
        for (const auto &g : r->utf8->CapturingGroupNames())
            r->names[(size_t)g.first] = g.second;
        *out = r.release();
        return ERR_OK;
    } catch (...) {
        return ERR(err, NOMEM, "out of memory compiling a regular expression");
    }
}

extern "C" void regex_free(struct regex *r)
{
    delete r;
}

extern "C" bool regex_match(const struct regex *r, struct slice text)
{
    try {
        return match(r, text, nullptr, 0);
    } catch (...) {
        return false;
    }
}

extern "C" int regex_groups(const struct regex *r)
{
    return (int)r->names.size() - 1;
}

extern "C" const char *regex_group_name(const struct regex *r, int group)
{
    return group > 0 && group < (int)r->names.size() ? r->names[(size_t)group].c_str() : "";
}

extern "C" bool regex_find(const struct regex *r, struct slice text, struct slice *groups, int n)
{
    try {
        enum { FEW = 17 };
        re2::StringPiece few[FEW];
        std::vector<re2::StringPiece> many;
        re2::StringPiece *g = few;
        if (n > FEW) {
            many.resize((size_t)n);
            g = many.data();
        }
        int have = regex_groups(r) + 1 < n ? regex_groups(r) + 1 : n;
        if (!match(r, text, g, have))
            return false;
        for (int i = 0; i < n; i++)
            groups[i] = i < have ? slice_of(g[i].data(), g[i].size()) : SLICE_NONE;
        return true;
    } catch (...) {
        return false;
    }
}
