"""TCP (RFC 9293): the protocol in plain, typed Python, compiled from the same files.

Read in this order: ``states`` (the machine as a table), ``request`` (one entry of the syn queue), ``listener`` (the handshake: syn
queue, accept queue), ``connection`` (the synchronized states), ``sender``, ``receiver``, ``timewait``, ``protocol`` (who gets a
segment). Nothing here knows a file descriptor, a clock or a random source: time and chance are arguments.
"""
