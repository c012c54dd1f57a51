// The forms in which results are printed.
#pragma once
#include "results/table.h"

enum { REPORT_ROWS = 200, REPORT_CLASSES = 8, REPORT_TEXT = 120 };
#define PHASE_PASSES 90.0 // percent of a phase's requests that must succeed

void report_tables(struct arena *a, const struct results *r, const struct results_options *o, enum results_format f,
                   struct buf *out);
void report_json(const struct results *r, const struct results_options *o, struct buf *out);
// One sentence about a test, as an item of a list.
void report_note(struct slice name, struct slice text, enum results_format f, struct buf *out);
// The frame of a page; the title is escaped.
void report_page(struct slice title, struct buf *out);
void report_page_end(struct buf *out);
void report_html(struct arena *a, const struct results *r, const struct results_options *o, struct buf *out);
