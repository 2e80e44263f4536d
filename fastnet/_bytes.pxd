"""Numbers in network byte order at any address, inline for the other leaves."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define FN_SWAP16(v) (v)
    #define FN_SWAP32(v) (v)
    #else
    #define FN_SWAP16(v) __builtin_bswap16(v)
    #define FN_SWAP32(v) __builtin_bswap32(v)
    #endif
    static inline uint16_t fn_load16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return FN_SWAP16(v); }
    static inline uint32_t fn_load32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return FN_SWAP32(v); }
    static inline void fn_store16(uint8_t *p, uint16_t v) { v = FN_SWAP16(v); memcpy(p, &v, 2); }
    static inline void fn_store32(uint8_t *p, uint32_t v) { v = FN_SWAP32(v); memcpy(p, &v, 4); }
    static inline void fn_store16_raw(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
    static inline uint32_t fn_swap32(uint32_t v) { return FN_SWAP32(v); }
    static inline uint16_t fn_swap16(uint16_t v) { return FN_SWAP16(v); }
    """
    uint16_t load16 "fn_load16"(const uint8_t *p) noexcept nogil
    uint32_t load32 "fn_load32"(const uint8_t *p) noexcept nogil
    void store16 "fn_store16"(uint8_t *p, uint16_t v) noexcept nogil
    void store32 "fn_store32"(uint8_t *p, uint32_t v) noexcept nogil
    void store16_raw "fn_store16_raw"(uint8_t *p, uint16_t v) noexcept nogil
    uint32_t swap32 "fn_swap32"(uint32_t v) noexcept nogil
    uint16_t swap16 "fn_swap16"(uint16_t v) noexcept nogil
