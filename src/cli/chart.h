// Lines over time in a terminal, in braille dots: two by four to a character.
//   struct chart *c = chart_new(&painter, from, to);
//   chart_series(c, name); chart_point(c, time, value) …          points of a series in the order of time
//   chart_draw(c); chart_free(c);
// All take null (out of memory). NaN and infinite values leave gaps.
#pragma once
#include "cli/draw.h"

struct chart;
struct chart *chart_new(const struct painter *p, double from, double to); // seconds
void chart_series(struct chart *c, struct slice name);                    // copied
void chart_point(struct chart *c, double time, double value);
void chart_draw(struct chart *c);
void chart_free(struct chart *c);
