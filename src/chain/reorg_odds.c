#include "chain/reorg_odds.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>

#define N_FRACTION_STEPS 100000u /* far beyond what any argument here needs */

/* lgamma() itself writes a global. */
static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

/* The ends of the scale: true when there is nothing to compute. */
static bool is_settled(uint32_t depth, double share, double *out)
{
    bool is_certain = depth == 0 || share >= 0.5;
    *out = is_certain ? 1 : 0;
    return is_certain || !(share > 0);
}

/* "Bitcoin", section 11: while depth blocks were made the attacker made k with Poisson's
 * probability; from there he catches up with (q / p)^(depth - k). Written as a sum of what he wins,
 * for 1 - (what he loses) would leave no digits of small odds. */
double reorg_odds_nakamoto(uint32_t depth, double attacker_share)
{
    double settled, q = attacker_share, sum = 0;
    if (is_settled(depth, q, &settled))
        return settled;
    double log_ratio = log(q) - log1p(-q);
    double lambda = depth * exp(log_ratio), log_lambda = log(lambda);
    for (uint32_t k = 0;; k++) {
        double log_poisson = k * log_lambda - lambda - log_gamma((double)k + 1);
        double log_catch_up = k < depth ? (double)(depth - k) * log_ratio : 0;
        double term = exp(log_poisson + log_catch_up);
        sum += term;
        if (k > depth && term <= sum * DBL_EPSILON / 4) /* terms only fall from here */
            return fmin(sum, 1);
    }
}

/* Continued fraction of I(x; a, b) without its factor (Abramowitz and Stegun 26.5.8), evaluated
 * from the front by Lentz's method; converges fast for x below (a + 1) / (a + b + 2). */
static double beta_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (uint32_t i = 1; i < N_FRACTION_STEPS; i++) {
        double m = i, change = 1;
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int half = 0; half < 2; half++) {
            double t = half ? odd : even;
            d = 1 + t * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + t / c;
            c = fabs(c) < tiny ? tiny : c;
            change = c * d;
            f *= change;
        }
        if (fabs(change - 1) < DBL_EPSILON)
            break;
    }
    return f;
}

/* I(x; a, b), with 1 - x given beside x so that neither loses digits. */
static double beta_regularised(double x, double one_less, double a, double b)
{
    double log_factor =
        a * log(x) + b * log(one_less) + log_gamma(a + b) - log_gamma(a) - log_gamma(b);
    if (x < (a + 1) / (a + b + 2))
        return exp(log_factor) * beta_fraction(x, a, b) / a;
    return 1 - exp(log_factor) * beta_fraction(one_less, b, a) / b;
}

/* "Double spend races", theorem 1.1. 1 - 4 p q is (p - q)^2. */
double reorg_odds_exact(uint32_t depth, double attacker_share)
{
    double settled, q = attacker_share, lead = 1 - 2 * q;
    if (is_settled(depth, q, &settled))
        return settled;
    return fmin(fmax(beta_regularised(4 * q * (1 - q), lead * lead, depth, 0.5), 0), 1);
}
