// Digits of a finite number as 1.234e+05 (no point where there is one digit), the fewest that read back the same. Gives the
// length; not terminated.
#pragma once
int prom_shortest(double v, char out[32]);
