// The small server behind net_part.h: one thread, one loop, one handler for every path. Part of the half that touches sockets.
#pragma once
#include "sdk/net_part.h"

enum errc net_serve(struct net_server **out, const struct net_server_options *o, struct error *err);
int net_serve_port(const struct net_server *s);
void net_serve_close(struct net_server *s);
void net_serve_forget(struct net_server *s);
