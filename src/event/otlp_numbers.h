// Field numbers of the messages of OTLP that are read and written by hand (opentelemetry-proto 1.x: common, resource, logs,
// trace): PB_MESSAGE_FIELD. What is checked, cleaned or turned to JSON as it stands goes by the tables of otlp_schema.c.
#pragma once

enum pb_any { PB_ANY_NONE, PB_ANY_STRING, PB_ANY_BOOL, PB_ANY_INT, PB_ANY_DOUBLE, PB_ANY_ARRAY, PB_ANY_KVLIST, PB_ANY_BYTES };
enum { PB_ARRAY_VALUES = 1 }; // of ArrayValue and KeyValueList
enum { PB_PAIR_KEY = 1, PB_PAIR_VALUE };
enum { PB_RESOURCE_ATTRS = 1 };
enum { PB_SCOPE_NAME = 1, PB_SCOPE_VERSION, PB_SCOPE_ATTRS };

// The frame is the same for all signals: a request has groups of one resource, these have groups of one scope.
enum { PB_REQUEST_GROUPS = 1 };
enum { PB_GROUP_HEAD = 1, PB_GROUP_ITEMS, PB_GROUP_SCHEMA }; // resource or scope; scope groups or records; schema URL

enum {
    PB_LOG_TIME = 1,
    PB_LOG_SEVERITY = 2,
    PB_LOG_SEVERITY_TEXT = 3,
    PB_LOG_BODY = 5,
    PB_LOG_ATTRS = 6,
    PB_LOG_DROPPED_ATTRS = 7,
    PB_LOG_FLAGS = 8,
    PB_LOG_TRACE_ID = 9,
    PB_LOG_SPAN_ID = 10,
    PB_LOG_OBSERVED = 11,
    PB_LOG_EVENT_NAME = 12,
};
enum {
    PB_SPAN_TRACE_ID = 1,
    PB_SPAN_ID = 2,
    PB_SPAN_TRACE_STATE = 3,
    PB_SPAN_PARENT_ID = 4,
    PB_SPAN_NAME = 5,
    PB_SPAN_KIND = 6,
    PB_SPAN_START = 7,
    PB_SPAN_END = 8,
    PB_SPAN_ATTRS = 9,
    PB_SPAN_DROPPED_ATTRS = 10,
    PB_SPAN_EVENTS = 11,
    PB_SPAN_DROPPED_EVENTS = 12,
    PB_SPAN_LINKS = 13,
    PB_SPAN_DROPPED_LINKS = 14,
    PB_SPAN_STATUS = 15,
    PB_SPAN_FLAGS = 16,
};
enum { PB_EVENT_TIME = 1, PB_EVENT_NAME, PB_EVENT_ATTRS, PB_EVENT_DROPPED_ATTRS };
enum { PB_LINK_TRACE_ID = 1, PB_LINK_SPAN_ID, PB_LINK_TRACE_STATE, PB_LINK_ATTRS, PB_LINK_DROPPED_ATTRS, PB_LINK_FLAGS };
enum { PB_STATUS_MESSAGE = 2, PB_STATUS_CODE = 3 };
