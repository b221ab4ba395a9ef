/* plot: figures as SVG: lines and points over axes with units, linear or logarithmic, several series
 * with a legend, panels above one another. No references to anything outside the file; colours that
 * stand out on light and on dark ground.
 *
 *   struct plot_panel *panel = plot_panel(&plot, "title", "machines", "time, s");
 *   uint32_t s = plot_series(&plot, panel, "median", PLOT_DOTS);
 *   plot_add(&plot, panel, s, 10, 12.5);
 *   plot_write_svg(&plot, &buf);
 *
 * Ownership  points and names are copied; panels are the plot's
 * Threads    one owner
 * Errors     sticky: without memory for a point `err` is set and the figure is not written
 * Bounds     PLOT_PANELS_MAX, PLOT_SERIES_MAX: further ones are left out. A series is drawn with at
 *            most PLOT_DRAWN_MAX points
 */
#pragma once
#include "base/buf.h"

#define PLOT_PANELS_MAX 4u
#define PLOT_SERIES_MAX 8u
#define PLOT_DRAWN_MAX  240u
#define PLOT_NAME_CAP   64u

enum plot_style {
    PLOT_LINE,
    PLOT_DOTS,   /* a line with a mark on each point */
    PLOT_DASHED, /* for bounds and comparisons */
    PLOT_STEPS   /* keeps a value until the next */
};

struct plot_point {
    double x, y;
};

struct plot_series {
    char name[PLOT_NAME_CAP];
    enum plot_style style;
    struct plot_point *points;
    size_t n, cap;
};

struct plot_panel {
    char title[128], x_label[PLOT_NAME_CAP], y_label[PLOT_NAME_CAP];
    bool is_x_log, is_y_log;
    struct plot_series series[PLOT_SERIES_MAX];
    uint32_t n_series;
};

struct plot {
    struct mem *mem;
    struct plot_panel *panels[PLOT_PANELS_MAX];
    uint32_t n_panels;
    enum err_code err;
};

void plot_init(struct plot *p, struct mem *mem);
void plot_clear(struct plot *p);
/* NULL: no room or no memory; the functions below take that and do nothing. */
struct plot_panel *plot_panel(struct plot *p, const char *title, const char *x_label,
                              const char *y_label);
uint32_t plot_series(struct plot *p, struct plot_panel *panel, const char *name,
                     enum plot_style style);
void plot_add(struct plot *p, struct plot_panel *panel, uint32_t series, double x, double y);
/* Nothing is written when there are no points; errors are in out->err. */
void plot_write_svg(const struct plot *p, struct buf *out);
