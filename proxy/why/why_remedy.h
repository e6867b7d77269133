#ifndef LAPSE_PROXY_WHY_WHY_REMEDY_H
#define LAPSE_PROXY_WHY_WHY_REMEDY_H

#include "lib/reason.h"
#include "proxy/why/why_fields.h"

struct text;

/* Parts a record's detail, "FACT; REMEDY", by the reason's row. A detail without a remedy is all fact: nothing of the row applied there.
 * Only where the detail says no more than the row, or nothing, the remedy is what the row says of any case. Pure. */
void why_remedy_part(enum reason_id reason, struct why_slice detail, struct why_slice *fact, struct text *remedy);

#endif
