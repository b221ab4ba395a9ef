/* shoal/shoal.h: everything that libshoal offers. */
#ifndef SHOAL_SHOAL_H
#define SHOAL_SHOAL_H

#include "shoal/error.h"
#include "shoal/session.h"

#endif
