/* plot: a panel is 720 wide; its frame leaves room for numbers, title and legend. */
#include "sim/plot.h"
#include "base/size.h"
#include <math.h>

#define WIDTH        720.0
#define FRAME_LEFT   78.0
#define FRAME_RIGHT  700.0
#define FRAME_HEIGHT 250.0
#define TITLE_HEIGHT 30.0
#define LEGEND_ROW   20.0
#define AXIS_HEIGHT  56.0
#define CHAR_WIDTH   7.2 /* of the legend's letters, about */
#define TICKS_MAX    24u

static const char *const colours[PLOT_SERIES_MAX] = {"#3478d8", "#e0791b", "#1c9b63", "#b748ab",
                                                     "#d43d4a", "#8a7430", "#2a9db0", "#7d68d6"};

/* --- building -------------------------------------------------------------------------------- */

void plot_init(struct plot *p, struct mem *mem)
{
    *p = (struct plot){.mem = mem};
}

void plot_clear(struct plot *p)
{
    for (uint32_t i = 0; i < p->n_panels; i++) {
        for (uint32_t k = 0; k < p->panels[i]->n_series; k++)
            mem_free(p->mem, p->panels[i]->series[k].points);
        mem_free(p->mem, p->panels[i]);
    }
    p->n_panels = 0;
}

struct plot_panel *plot_panel(struct plot *p, const char *title, const char *x_label,
                              const char *y_label)
{
    if (p->n_panels == PLOT_PANELS_MAX)
        return NULL;
    struct plot_panel *panel = mem_calloc(p->mem, 1, sizeof *panel);
    if (!panel) {
        p->err = ERR_NO_MEMORY;
        return NULL;
    }
    snprintf(panel->title, sizeof panel->title, "%s", title);
    snprintf(panel->x_label, sizeof panel->x_label, "%s", x_label);
    snprintf(panel->y_label, sizeof panel->y_label, "%s", y_label);
    p->panels[p->n_panels++] = panel;
    return panel;
}

uint32_t plot_series(struct plot *p, struct plot_panel *panel, const char *name,
                     enum plot_style style)
{
    (void)p;
    if (!panel || panel->n_series == PLOT_SERIES_MAX)
        return PLOT_SERIES_MAX;
    struct plot_series *s = &panel->series[panel->n_series];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->style = style;
    return panel->n_series++;
}

void plot_add(struct plot *p, struct plot_panel *panel, uint32_t series, double x, double y)
{
    if (!panel || series >= panel->n_series || p->err)
        return;
    struct plot_series *s = &panel->series[series];
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        struct plot_point *points = mem_realloc(p->mem, s->points, cap * sizeof *points);
        if (!points) {
            p->err = ERR_NO_MEMORY;
            return;
        }
        s->points = points;
        s->cap = cap;
    }
    s->points[s->n++] = (struct plot_point){x, y};
}

/* --- axes ------------------------------------------------------------------------------------ */

struct axis {
    double least, most; /* of what is shown; logarithms when is_log */
    double from, to;    /* in the picture */
    bool is_log;
    double ticks[TICKS_MAX];
    uint32_t n_ticks;
};

static double scaled(const struct axis *a, double v)
{
    return a->is_log ? log10(v) : v;
}

static double place(const struct axis *a, double v)
{
    return a->from + (scaled(a, v) - a->least) / (a->most - a->least) * (a->to - a->from);
}

static bool is_shown(const struct plot_panel *panel, const struct plot_point *q)
{
    return isfinite(q->x) && isfinite(q->y) && (!panel->is_x_log || q->x > 0) &&
           (!panel->is_y_log || q->y > 0);
}

/* A tick's distance: 1, 2 or 5 times a power of ten. */
static double nice_step(double range, double n_wanted)
{
    double rough = range / n_wanted, power = pow(10, floor(log10(rough))), part = rough / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static void put_tick(struct axis *a, double v)
{
    if (a->n_ticks < TICKS_MAX)
        a->ticks[a->n_ticks++] = v;
}

/* Decades; with what lies between them when there are few. */
static void log_ticks(struct axis *a)
{
    static const double parts[] = {1, 2, 5, 3};
    double decades = a->most - a->least;
    size_t n = decades > 6 ? 1 : decades > 1.2 ? 3 : 4;
    for (double e = floor(a->least); e <= ceil(a->most); e++)
        for (size_t k = 0; k < n; k++) {
            double v = parts[k] * pow(10, e);
            if (log10(v) >= a->least - 1e-9 && log10(v) <= a->most + 1e-9)
                put_tick(a, v);
        }
}

static void linear_ticks(struct axis *a, double n_wanted)
{
    double step = nice_step(a->most - a->least, n_wanted);
    a->least = floor(a->least / step + 1e-9) * step;
    a->most = ceil(a->most / step - 1e-9) * step;
    for (double i = 0; a->least + i * step <= a->most + step / 2; i++)
        put_tick(a, a->least + i * step);
}

/* False: nothing to show. */
static bool axis_of(const struct plot_panel *panel, bool is_y, struct axis *a)
{
    bool has_any = false;
    a->is_log = is_y ? panel->is_y_log : panel->is_x_log;
    for (uint32_t s = 0; s < panel->n_series; s++)
        for (size_t i = 0; i < panel->series[s].n; i++) {
            const struct plot_point *q = &panel->series[s].points[i];
            if (!is_shown(panel, q))
                continue;
            double v = scaled(a, is_y ? q->y : q->x);
            a->least = has_any ? fmin(a->least, v) : v;
            a->most = has_any ? fmax(a->most, v) : v;
            has_any = true;
        }
    if (!has_any)
        return false;
    if (!a->is_log && a->least > 0 && a->least < a->most / 2)
        a->least = 0;
    double margin = a->is_log ? 0.04 * (a->most - a->least) : 0;
    a->least -= margin;
    a->most += margin;
    if (a->most - a->least < 1e-9) {
        a->least -= a->is_log ? 0.5 : 0;
        a->most += a->is_log ? 0.5 : 1;
    }
    if (a->is_log)
        log_ticks(a);
    else
        linear_ticks(a, is_y ? 5 : 8);
    return true;
}

/* 1,000 and 0.05, without digits that say nothing. */
static void put_number(struct buf *out, double v)
{
    char text[64];
    if (fabs(v) < 1000 || fabs(v - rint(v)) > 1e-6 || fabs(v) > 1e15) {
        buf_printf(out, "%.6g", fabs(v) < 1e-12 ? 0 : v);
        return;
    }
    int n = snprintf(text, sizeof text, "%.0f", v), sign = v < 0;
    for (int i = 0; i < n; i++)
        buf_printf(out, i > sign && (n - i) % 3 == 0 ? ",%c" : "%c", text[i]);
}

/* --- drawing --------------------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            buf_str(out, "&lt;");
        else if (*s == '&')
            buf_str(out, "&amp;");
        else
            buf_u8(out, (uint8_t)*s);
    }
}

static void put_label(struct buf *out, const char *class, double x, double y, const char *anchor,
                      const char *text)
{
    buf_printf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y,
               anchor);
    put_text(out, text);
    buf_str(out, "</text>\n");
}

static void put_axes(struct buf *out, const struct plot_panel *panel, const struct axis *x,
                     const struct axis *y)
{
    for (uint32_t i = 0; i < x->n_ticks; i++) {
        double at = place(x, x->ticks[i]);
        buf_printf(out, "<path class=\"g\" d=\"M%.1f %.1fV%.1f\"/>", at, y->from, y->to);
        buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", at, y->from + 18);
        put_number(out, x->ticks[i]);
        buf_str(out, "</text>\n");
    }
    for (uint32_t i = 0; i < y->n_ticks; i++) {
        double at = place(y, y->ticks[i]);
        buf_printf(out, "<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/>", x->from, at, x->to);
        buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x->from - 8, at + 4);
        put_number(out, y->ticks[i]);
        buf_str(out, "</text>\n");
    }
    buf_printf(out, "<path class=\"a\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n", x->from, y->to, y->from,
               x->to);
    put_label(out, "l", (x->from + x->to) / 2, y->from + 40, "middle", panel->x_label);
    buf_printf(out, "<g transform=\"translate(18 %.1f) rotate(-90)\">", (y->from + y->to) / 2);
    put_label(out, "l", 0, 0, "middle", panel->y_label);
    buf_str(out, "</g>\n");
}

static void put_series(struct buf *out, const struct plot_panel *panel, uint32_t index,
                       const struct axis *x, const struct axis *y)
{
    const struct plot_series *s = &panel->series[index];
    size_t step = s->n > PLOT_DRAWN_MAX ? div_ceil(s->n, PLOT_DRAWN_MAX) : 1;
    bool has_begun = false;
    buf_printf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s d=\"", colours[index],
               s->style == PLOT_DASHED ? " stroke-dasharray=\"7 5\"" : "");
    for (size_t i = 0; i < s->n; i = i + step < s->n || i + 1 == s->n ? i + step : s->n - 1) {
        const struct plot_point *q = &s->points[i];
        if (!is_shown(panel, q))
            continue;
        double px = place(x, q->x), py = place(y, q->y);
        if (has_begun && s->style == PLOT_STEPS)
            buf_printf(out, "H%.1fV%.1f", px, py);
        else
            buf_printf(out, "%s%.1f %.1f", has_begun ? "L" : "M", px, py);
        has_begun = true;
    }
    buf_str(out, "\"/>\n");
    for (size_t i = 0; s->style == PLOT_DOTS && i < s->n; i += step)
        if (is_shown(panel, &s->points[i]))
            buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n",
                       place(x, s->points[i].x), place(y, s->points[i].y), colours[index]);
}

static double legend_width(const struct plot_series *s)
{
    return 44 + CHAR_WIDTH * (double)strlen(s->name);
}

/* Returns how high the legend is; draws it when out is given. */
static double put_legend(struct buf *out, const struct plot_panel *panel, double top)
{
    double at = FRAME_LEFT, height = LEGEND_ROW;
    for (uint32_t i = 0; i < panel->n_series; i++) {
        const struct plot_series *s = &panel->series[i];
        if (at + legend_width(s) > FRAME_RIGHT && at > FRAME_LEFT) {
            at = FRAME_LEFT;
            height += LEGEND_ROW;
        }
        double y = top + height - 6;
        if (out) {
            buf_printf(out, "<path stroke=\"%s\" stroke-width=\"3\"%s d=\"M%.1f %.1fh22\"/>",
                       colours[i], s->style == PLOT_DASHED ? " stroke-dasharray=\"6 4\"" : "", at,
                       y - 4);
            put_label(out, "n", at + 28, y, "start", s->name);
        }
        at += legend_width(s);
    }
    return panel->n_series > 1 ? height : 0;
}

static double panel_height(const struct plot_panel *panel)
{
    return TITLE_HEIGHT + put_legend(NULL, panel, 0) + 10 + FRAME_HEIGHT + AXIS_HEIGHT;
}

static void put_panel(struct buf *out, const struct plot_panel *panel, double top)
{
    struct axis x = {.from = FRAME_LEFT, .to = FRAME_RIGHT}, y = {0};
    if (!axis_of(panel, false, &x) || !axis_of(panel, true, &y))
        return;
    put_label(out, "t", FRAME_LEFT, top + 20, "start", panel->title);
    double frame_top = top + TITLE_HEIGHT + 10;
    if (panel->n_series > 1)
        frame_top += put_legend(out, panel, top + TITLE_HEIGHT);
    y.to = frame_top;
    y.from = frame_top + FRAME_HEIGHT;
    put_axes(out, panel, &x, &y);
    for (uint32_t i = 0; i < panel->n_series; i++)
        put_series(out, panel, i, &x, &y);
}

static bool has_points(const struct plot_panel *panel)
{
    struct axis a = {0};
    return axis_of(panel, false, &a);
}

void plot_write_svg(const struct plot *p, struct buf *out)
{
    double height = 0, top = 0;
    if (p->err)
        out->err = p->err;
    for (uint32_t i = 0; i < p->n_panels; i++)
        height += has_points(p->panels[i]) ? panel_height(p->panels[i]) : 0;
    if (height == 0)
        return;
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
               "width=\"%.0f\" height=\"%.0f\" font-family=\"system-ui,sans-serif\" "
               "font-size=\"13\">\n<style>text{fill:#6b6b6b}.t{font-size:16px;font-weight:600}"
               ".l,.n{font-size:14px}.a{fill:none;stroke:#808080;stroke-width:1.2}"
               ".g{stroke:#808080;stroke-opacity:.22}"
               "@media(prefers-color-scheme:dark){text{fill:#b4b4b4}}</style>\n",
               WIDTH, height, WIDTH, height);
    for (uint32_t i = 0; i < p->n_panels; i++) {
        if (!has_points(p->panels[i]))
            continue;
        put_panel(out, p->panels[i], top);
        top += panel_height(p->panels[i]);
    }
    buf_str(out, "</svg>\n");
}
