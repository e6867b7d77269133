#ifndef LAPSE_PROXY_SETTINGS_SETTINGS_VALUE_H
#define LAPSE_PROXY_SETTINGS_SETTINGS_VALUE_H

#include "lib/options.h"

/* Parsers of values that only lapse-proxy knows, for the rows of options.c; what each fills is the row's field in struct settings. */
option_parse settings_value_parse_admin;
option_parse settings_value_parse_admin_host;
option_parse settings_value_parse_forwarded;
option_parse settings_value_parse_dns;
option_parse settings_value_parse_namespace;
option_parse settings_value_parse_domain;
option_parse settings_value_parse_direction;
option_parse settings_value_parse_protocol;
option_parse settings_value_parse_since;
option_parse settings_value_parse_reason;
option_parse settings_value_parse_timeout;
option_parse settings_value_parse_profile_default;
option_parse settings_value_parse_docs;
option_parse settings_value_parse_malformed;
option_parse settings_value_parse_deadline;

#endif
