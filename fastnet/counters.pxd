# One C integer for each annotation of the class in counters.py; a test holds the two together.


cdef class Counters:
    cdef public long long IpInReceives
    cdef public long long IpInHdrErrors
    cdef public long long InTruncatedPkts
    cdef public long long InCsumErrors
    cdef public long long IpInAddrErrors
    cdef public long long FragmentDrops
    cdef public long long IpInUnknownProtos
    cdef public long long Ip6InDiscards
    cdef public long long IpOutRequests
    cdef public long long DeviceTxErrors
    cdef public long long IcmpInMsgs
    cdef public long long IcmpInErrors
    cdef public long long IcmpInCsumErrors
    cdef public long long IcmpInEchos
    cdef public long long IcmpOutEchoReps
    cdef public long long TcpInSegs
    cdef public long long TcpInErrs
    cdef public long long TcpInCsumErrors
    cdef public long long TcpOutRsts
    cdef public long long TcpRetransSegs
    cdef public long long TcpPassiveOpens
    cdef public long long TcpAttemptFails
    cdef public long long TcpEstabResets
    cdef public long long TcpCurrEstab
    cdef public long long TcpInNoListener
    cdef public long long TcpInNoFlags
    cdef public long long ListenOverflows
    cdef public long long ListenDrops
    cdef public long long TCPReqQFullDrop
    cdef public long long EmbryonicRsts
    cdef public long long TCPSynRetrans
    cdef public long long TCPTimeouts
    cdef public long long TCPAbortOnData
    cdef public long long TCPAbortOnClose
    cdef public long long TCPAbortOnTimeout
    cdef public long long TCPChallengeACK
    cdef public long long TCPOFOQueue
    cdef public long long TCPOFODrop
    cdef public long long PAWSEstab
    cdef public long long TW
    cdef public long long TWRecycled
    cdef public long long TCPTimeWaitOverflow
    cdef public long long TCPZeroWindowDrop
