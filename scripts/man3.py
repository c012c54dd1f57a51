#!/usr/bin/env python3
"""Manual pages of libsonde out of its public headers, which are the manual.
    scripts/man3.py INCLUDE_DIR OUT_DIR VERSION
One page a header (sonde.h: libsonde.3, log.h: sonde_log.3 …), and for each function, type and macro a page that leads there.

A header is read as it is written: the comment at its top is the description; `// ---- title ----` begins a section; a comment
belongs to the declarations that follow it without an empty line. Lines of a comment that are indented by two or more are
shown as they stand. What ends in an underscore, and everything below `// ---- machinery`, is not for readers."""
import os
import pathlib
import re
import sys


class Page:
    def __init__(self, header, name):
        self.header, self.name = header, name
        self.about, self.body, self.names = [], [], []  # body: ("section", title) or ("item", code, comment)


def public(name):
    return not name.endswith("_")


# ---- reading ------------------------------------------------------------------------------------------------------------
def comment_text(line):
    return line[2:][1:] if line[2:].startswith(" ") else line[2:]


def joined(lines):
    """Lines ended by a backslash put together."""
    out = []
    for line in lines:
        if out and out[-1].endswith("\\"):
            out[-1] = out[-1][:-1].rstrip() + " " + line.strip()
        else:
            out.append(line)
    return out


def without_cxx(lines):
    """Without what only C++ sees."""
    out, depth, skip = [], 0, None
    for line in lines:
        if re.match(r"#\s*if", line):
            depth += 1
            if skip is None and re.match(r"#\s*ifdef __cplusplus", line):
                skip = depth
            elif skip is None:
                out.append(line)
            continue
        if re.match(r"#\s*(else|elif)", line) and skip == depth:
            skip = -depth
            continue
        if re.match(r"#\s*endif", line):
            if skip in (depth, -depth):
                skip = None
            elif skip is None or skip < 0:
                out.append(line)
            depth -= 1
            continue
        if skip is None or skip < 0:
            out.append(line)
    return out


def macro(line):
    """What a reader needs of a #define, or nothing."""
    m = re.match(r"#\s*define\s+(\w+)(\([^)]*\))?\s*(.*)", line)
    if not m or not public(m[1]) or m[1] in ("SONDE_API",):
        return None
    simple = not m[2] and m[3] and "(" not in m[3]
    return f"#define {m[1]}{m[2] or ''}" + (f" {m[3]}" if simple else "")


def code_lines(block, templates):
    """Declarations as a reader wants them: no bodies, no attributes of ours."""
    out, i, text = [], 0, block
    while i < len(text):
        line = text[i]
        i += 1
        define = re.match(r"#\s*define\s+(\w+_)\((\w+),.*?static inline (.*?\*?)(sonde_##\w+##\w+\([^{]*\))", line)
        if define:  # a macro that makes functions
            templates[define[1]] = (define[2], define[3] + define[4] + ";")
            continue
        use = re.match(r"(\w+_)\((\w+)", line)
        if use and use[1] in templates:
            key, prototype = templates[use[1]]
            out.append(re.sub(r"\s+", " ", re.sub(rf"##{key}(##)?", use[2], prototype)))
            continue
        if re.search(r"\bsonde_\w+_\(", line) and not line.startswith((" ", "#")):
            while ";" not in text[i - 1] and i < len(text):
                i += 1
            continue
        if line.startswith("#"):
            short = macro(line)
            if short:
                out.append(short)
            continue
        if line.startswith("static inline") or line.startswith("namespace"):
            head = line
            while "{" not in head and i < len(text):
                head += " " + text[i].strip()
                i += 1
            depth = head.count("{") - head.count("}")
            while depth > 0 and i < len(text):
                depth += text[i].count("{") - text[i].count("}")
                i += 1
            if head.startswith("static inline") and not re.search(r"sonde_arg_\w+\(", head):
                out.append(re.sub(r"^static inline |__attribute__\(\(.*?\)\)+ ?", "", head.split("{")[0].strip()) + ";")
            continue
        out.append(re.sub(r" ?__attribute__\(\((?:[^()]|\([^()]*\))*\)\)", "", line.replace("SONDE_API ", "")))
    return [line for line in out if line.strip() not in ("", "}", 'extern "C" {')]


def read(path):
    lines = joined(path.read_text(encoding="utf-8").splitlines())
    stem = path.stem
    page = Page(path.name, "libsonde" if stem == "sonde" else f"sonde_{stem}")
    while lines and lines[0].startswith("//"):
        page.about.append(comment_text(lines.pop(0)))
    comment, code, depth, templates = [], [], 0, {}

    def flush():
        nonlocal comment, code
        shown = code_lines(code, templates)
        if shown or (comment and not code):
            page.body.append(("item", shown, comment))
        comment, code = [], []

    for line in without_cxx(lines):
        title = re.match(r"// -+ (.*?) -+$", line)
        if title and title[1] == "machinery":
            break
        if title:
            flush()
            page.body.append(("section", title[1]))
        elif line.startswith("//") and depth == 0:
            if code:
                flush()
            comment.append(comment_text(line))
        elif not line.strip() and depth == 0:
            flush()
        elif not re.match(r"#\s*(pragma|include|ifdef|ifndef|if |endif|else|undef)", line):
            code.append(line)
            depth += line.count("{") - line.count("}") if not line.startswith("#") and 'extern "C"' not in line else 0
            depth = max(depth, 0)
    flush()
    page.body = [b for i, b in enumerate(page.body)  # sections without anything
                 if b[0] == "item" or (i + 1 < len(page.body) and page.body[i + 1][0] == "item")]
    for b in page.body:
        if b[0] == "item":
            page.names += names_of(b[1])
    return page


def names_of(code):
    names, depth = [], 0
    for line in code:
        bare = re.sub(r"//.*", "", line)
        if depth == 0:
            m = re.match(r"#define (\w+)", bare)
            names += [m[1]] if m else re.findall(r"\b(sonde_\w+)\s*\(", bare)
            names += re.findall(r"^(?:struct|enum) (sonde_\w+)", bare)
            names += re.findall(r"^typedef .*?\b(sonde_\w+)\(", bare)
        depth += bare.count("{") - bare.count("}")
    return [n for n in names if public(n)]


# ---- writing ------------------------------------------------------------------------------------------------------------
def roff(text, code=False):
    text = text.replace("\\", "\\e")
    if code:
        text = text.replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    text = re.sub(r"[^\x00-\x7f]", lambda m: f"\\[u{ord(m[0]):04X}]", text)
    return "\\&" + text if text[:1] in (".", "'") else text


def literal(lines, font=None):
    out = [".nf"] + ([f".ft {font}"] if font else [])
    out += [roff(line, code=True) if line.strip() else "" for line in lines]
    return [x if x else ".sp" for x in out] + ([".ft R"] if font else []) + [".fi"]


def paragraphs(comment, first=False):
    """Text flows; indented lines stand as they are."""
    out, block, started = [], [], not first

    def end_block():
        nonlocal block
        if block:
            out.extend([".RS 4"] + literal(block) + [".RE"])
        block = []

    for line in comment:
        if line.startswith("  "):
            block.append(line[2:])
        elif not line.strip():
            if block:
                block.append("")
            elif out and out[-1] != ".PP":
                out.append(".PP")
        else:
            while block and not block[-1]:
                block.pop()
            if block:
                end_block()
                out.append(".PP")
            out.append(roff(line))
    while block and not block[-1]:
        block.pop()
    end_block()
    while out and out[-1] == ".PP":
        out.pop()
    return out


def first_sentence(about):
    text = " ".join(line for line in about if not line.startswith("  ")).strip()
    return re.split(r"(?<=[^A-Z])\.(?:\s|$)", text)[0].rstrip(".")


def write(page, pages, version, direct):
    title = page.name.upper()
    out = [f'.TH "{title}" 3 "" "sonde {version}" "Sonde"', ".SH NAME", f"{page.name} \\- {roff(first_sentence(page.about))}",
           ".SH SYNOPSIS", ".nf", ".B #include <sonde/" + ("sonde.h" if direct else page.header) + ">"]
    out += [".sp", "cc \\fIprogram.c\\fR $(pkg\\-config \\-\\-cflags \\-\\-libs sonde)", ".fi", ".SH DESCRIPTION"]
    out += paragraphs(page.about)
    section_open = True
    for b in page.body:
        if b[0] == "section":
            out.append(f'.SH "{roff(b[1]).upper()}"')
            section_open = True
            continue
        if not section_open:
            out.append(".PP")
        section_open = False
        code = b[1]
        if code:
            out += literal(code, "B")
        text = paragraphs(b[2])
        if text:
            out += [".RS 4"] * bool(code) + text + [".RE"] * bool(code)
    others = sorted(p.name for p in pages if p is not page)
    out += [".SH SEE ALSO"] + [f".BR {n} (3)," for n in others] + [".BR sonde (1)"]
    return "\n".join(out) + "\n"


def main():
    include, out, version = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    pages = [read(p) for p in sorted(include.glob("*.h"))]
    top = (include / "sonde.h").read_text(encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.3"):
        old.unlink()
    taken, prefixes = {p.name for p in pages}, {}
    for page in pages:
        direct = page.header == "sonde.h" or f"<sonde/{page.header}>" in top
        (out / f"{page.name}.3").write_text(write(page, pages, version, direct), encoding="utf-8")
    for page in pages:
        for name in page.names:
            if name not in taken:
                taken.add(name)
                (out / f"{name}.3").write_text(f".so man3/{page.name}.3\n", encoding="utf-8")
            if name.startswith("sonde_") and name.count("_") > 1:
                prefixes.setdefault("_".join(name.split("_")[:2]), []).append(page.name)
    for prefix, where in prefixes.items():  # sonde_flight, for those that do not know the whole name
        if prefix not in taken and len(where) > 1:
            (out / f"{prefix}.3").write_text(f".so man3/{where[0]}.3\n", encoding="utf-8")
    os.utime(out)  # new for the build tool, also where only files inside changed


if __name__ == "__main__":
    main()
