// c-ares: asynchronous DNS.
#pragma once
#include <ares.h>
#include <netdb.h>
#include <arpa/inet.h>
#include <sys/socket.h>
