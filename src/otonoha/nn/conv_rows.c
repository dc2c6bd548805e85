/* Residual units and convolutions over rows (time, channels): products of small matrices, tile by tile in the cache.
 *
 *     unit:  y[t] = x[t] + scale (W2 relu(b1 + sum_k W1[k] relu(x[t + (k - 1) d])) + b2)
 *     taps:  y[t] = b + sum_k W[k] x[stride t + first + k step],   rows outside of x are zeros
 *
 * A tile of rows is gathered side by side (for every output row all inputs that it depends on), so that a convolution
 * is one product with a long inner axis; what comes before and after it (ReLU, bias, residual) is done while the tile
 * is in the first cache. A block of ROWS x COLUMNS vectors of a result stays in registers.
 * All arrays are float32; channels are multiples of LANES. Nothing is allocated here; `room` is the caller's.
 */
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define COLUMNS 4
#define ROWS(columns) ((columns) > 2 ? 6 : 12)
#elif defined(__AVX__)
#define LANES 8
#define COLUMNS 2
#define ROWS(columns) 6
#else
#define LANES 4
#define COLUMNS 2
#define ROWS(columns) 6
#endif
#define TILE 48 /* rows of a tile; a multiple of all ROWS */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define AT(p) (*(vec *)(p))
#define READ(p) (*(const vec *)(p))

static inline vec positive(vec x) { return (vec)((mask)x & (x > 0)); }
static inline vec where_positive(vec x, vec y) { return (vec)((mask)y & (x > 0)); } /* y where x > 0, else 0 */

/* c (rows, columns vectors) = or += a b; a has any strides, rows of b and c are contiguous. Constant rows and columns. */
static inline __attribute__((always_inline)) void block(
    const float *a, int64_t a_row, int64_t a_k, const float *b, int64_t b_k, int64_t K, float *c, int64_t c_row,
    const int add, const int rows, const int columns) {
    vec sum[12][COLUMNS];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int n = 0; n < columns; n++) sum[r][n] = add ? READ(c + r * c_row + n * LANES) : (vec){0};
    for (int64_t k = 0; k < K; k++) {
        vec w[COLUMNS];
#pragma GCC unroll 4
        for (int n = 0; n < columns; n++) w[n] = READ(b + k * b_k + n * LANES);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            const float s = a[r * a_row + k * a_k];
#pragma GCC unroll 4
            for (int n = 0; n < columns; n++) sum[r][n] += w[n] * s;
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int n = 0; n < columns; n++) AT(c + r * c_row + n * LANES) = sum[r][n];
}

static inline __attribute__((always_inline)) void column(
    const float *a, int64_t a_row, int64_t a_k, const float *b, int64_t b_k, int64_t K, float *c, int64_t c_row,
    int64_t M, const int add, const int columns) {
    int64_t m = 0;
    for (; m + ROWS(columns) <= M; m += ROWS(columns))
        block(a + m * a_row, a_row, a_k, b, b_k, K, c + m * c_row, c_row, add, ROWS(columns), columns);
    for (; m + 4 <= M; m += 4) block(a + m * a_row, a_row, a_k, b, b_k, K, c + m * c_row, c_row, add, 4, columns);
    for (; m < M; m++) block(a + m * a_row, a_row, a_k, b, b_k, K, c + m * c_row, c_row, add, 1, columns);
}

/* c (M, N) = or += a (M, K) b (K, N) */
static inline __attribute__((always_inline)) void product(
    const float *a, int64_t a_row, int64_t a_k, const float *b, int64_t b_k, int64_t K, float *c, int64_t c_row,
    int64_t M, int64_t N, const int add) {
    for (int64_t n = 0; n < N; n += COLUMNS * LANES) switch ((N - n) / LANES) {
        case 1: column(a, a_row, a_k, b + n, b_k, K, c + n, c_row, M, add, 1); break;
#if COLUMNS > 2
        case 2: column(a, a_row, a_k, b + n, b_k, K, c + n, c_row, M, add, 2); break;
        case 3: column(a, a_row, a_k, b + n, b_k, K, c + n, c_row, M, add, 3); break;
#endif
        default: column(a, a_row, a_k, b + n, b_k, K, c + n, c_row, M, add, COLUMNS);
        }
}

static __attribute__((noinline)) void set(
    const float *a, int64_t a_row, const float *b, int64_t K, float *c, int64_t c_row, int64_t M, int64_t N) {
    product(a, a_row, 1, b, N, K, c, c_row, M, N, 0);
}

/* c (K, N) += transpose of a (M, K) times b (M, N) */
static __attribute__((noinline)) void add_turned(
    const float *a, int64_t a_row, const float *b, int64_t M, float *c, int64_t K, int64_t N) {
    product(a, 1, a_row, b, N, M, c, N, K, N, 1);
}

typedef struct { /* which rows of x an output row depends on */
    int64_t taps, first, step, stride;
} Reach;

/* The taps that any of the rows from ... from + rows - 1 finds inside of x (T, C); returns how many lie before them */
static inline int64_t met(Reach *reach, int64_t T, int64_t from, int64_t rows) {
    const int64_t low = from * reach->stride + reach->first, high = low + (rows - 1) * reach->stride;
    int64_t begin = 0, end = reach->taps;
    while (begin < end && high + begin * reach->step < 0) begin++;
    while (begin < end && low + (end - 1) * reach->step >= T) end--;
    reach->first += begin * reach->step;
    reach->taps = end - begin;
    return begin;
}

/* (rows, taps C): what the output rows from, from + 1, ... depend on; of x (T, C), through a ReLU if asked */
static inline __attribute__((always_inline)) void gather(
    const float *x, int64_t T, int64_t C, const Reach *reach, int64_t from, int64_t rows, float *to, const int relu) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < reach->taps; k++, to += C) {
            const int64_t t = (from + r) * reach->stride + reach->first + k * reach->step;
            if (t < 0 || t >= T) memset(to, 0, C * sizeof(float));
            else if (!relu) memcpy(to, x + t * C, C * sizeof(float));
            else for (int64_t c = 0; c < C; c += LANES) AT(to + c) = positive(READ(x + t * C + c));
        }
}

static void add_rows(const float *g, int64_t rows, int64_t N, float *sums) {
    for (int64_t n = 0; n < N; n += LANES) {
        vec sum = READ(sums + n);
        for (int64_t r = 0; r < rows; r++) sum += READ(g + r * N + n);
        AT(sums + n) = sum;
    }
}

int64_t conv_lanes(void) { return LANES; }

/* floats of `room` for at most C channels: a gathered tile, and one of results */
int64_t conv_room(int64_t taps, int64_t C) { return TILE * (taps + 1) * C; }

/* Of every clip b the rows from ... to, tile by tile */
#define TILES(from, to, at, rows) \
    for (int64_t b = 0; b < B; b++) \
        for (int64_t at = (from), rows; at < (to) && (rows = (to) - at < TILE ? (to) - at : TILE); at += TILE)

#define EACH(r, n, rows, N) \
    for (int64_t r = 0; r < (rows); r++) \
        for (int64_t n = 0; n < (N); n += LANES)

/* Rows from ... to of y (B, T, C); w1 (3 C, H), w2 (H, C). v (B, T, H), what the second product is given, if it is
 * wanted. */
void unit_forward(const float *x, const float *w1, const float *b1, const float *w2, const float *b2, float scale,
                  int64_t B, int64_t T, int64_t C, int64_t H, int64_t d, int64_t from, int64_t to, float *v, float *y,
                  float *room) {
    TILES(from, to, at, rows) {
        Reach reach = {3, -d, d, 1};
        const int64_t before = met(&reach, T, at, rows), K = reach.taps * C;
        const float *x_at = x + (b * T + at) * C;
        float *y_at = y + (b * T + at) * C, *inner = v ? v + (b * T + at) * H : room + TILE * 3 * C;
        gather(x + b * T * C, T, C, &reach, at, rows, room, 1);
        set(room, K, w1 + before * C * H, K, inner, H, rows, H);
        EACH(r, n, rows, H) AT(inner + r * H + n) = positive(READ(inner + r * H + n) + READ(b1 + n));
        set(inner, H, w2, H, y_at, C, rows, C);
        EACH(r, n, rows, C)
            AT(y_at + r * C + n) = READ(x_at + r * C + n) + scale * (READ(y_at + r * C + n) + READ(b2 + n));
    }
}

/* gv (B, T, H), the gradient of what w1 gives, from that of y; w2 (C, H) turned and scaled */
void unit_backward_inner(const float *g, const float *v, const float *w2, int64_t B, int64_t T, int64_t C, int64_t H,
                         int64_t from, int64_t to, float *gv) {
    TILES(from, to, at, rows) {
        const float *v_at = v + (b * T + at) * H;
        float *gv_at = gv + (b * T + at) * H;
        set(g + (b * T + at) * C, C, w2, C, gv_at, H, rows, H);
        for (int64_t i = 0; i < rows * H; i += LANES) AT(gv_at + i) = where_positive(READ(v_at + i), READ(gv_at + i));
    }
}

/* gx (B, T, C) from gv and g; w1 (3 H, C) turned. Adds to gw1 (3 C, H), gb1 (H), gw2 (H, C), gb2 (C), without scale. */
void unit_backward(const float *x, const float *v, const float *g, const float *gv, const float *w1, int64_t B,
                   int64_t T, int64_t C, int64_t H, int64_t d, int64_t from, int64_t to, float *gx, float *gw1,
                   float *gb1, float *gw2, float *gb2, float *room) {
    TILES(from, to, at, rows) {
        Reach reach = {3, -d, d, 1};
        const int64_t before = met(&reach, T, at, rows), K = reach.taps * C, row = b * T + at;
        const float *x_at = x + row * C, *g_at = g + row * C, *gv_at = gv + row * H;
        float *gx_at = gx + row * C;
        gather(x + b * T * C, T, C, &reach, at, rows, room, 1);
        add_turned(room, K, gv_at, rows, gw1 + before * C * H, K, H);
        add_turned(v + row * H, H, g_at, rows, gw2, H, C);
        add_rows(gv_at, rows, H, gb1);
        add_rows(g_at, rows, C, gb2);
        gather(gv + b * T * H, T, H, &reach, at, rows, room, 0);
        set(room, reach.taps * H, w1 + before * H * C, reach.taps * H, gx_at, C, rows, C);
        for (int64_t i = 0; i < rows * C; i += LANES)
            AT(gx_at + i) = READ(g_at + i) + where_positive(READ(x_at + i), READ(gx_at + i));
    }
}

/* Rows from ... to of y (B, Q rows of N numbers, y_row apart); w (taps C, N); bias (N) or nothing. C may be any number. */
void taps_forward(const float *x, const float *w, const float *bias, int64_t B, int64_t T, int64_t C, int64_t Q,
                  int64_t N, int64_t taps, int64_t first, int64_t stride, int64_t from, int64_t to, float *y,
                  int64_t y_row, float *room) {
    TILES(from, to, at, rows) {
        Reach reach = {taps, first, 1, stride};
        const int64_t before = met(&reach, T, at, rows), K = reach.taps * C;
        float *y_at = y + (b * Q + at) * y_row;
        gather(x + b * T * C, T, C, &reach, at, rows, room, 0);
        set(room, K, w + before * C * N, K, y_at, y_row, rows, N);
        if (bias) EACH(r, n, rows, N) AT(y_at + r * y_row + n) += READ(bias + n);
    }
}

/* Adds to gw (taps C, N), and to gb (N) if it is wanted; g (B, Q, N) is the gradient of y */
void taps_backward(const float *x, const float *g, int64_t B, int64_t T, int64_t C, int64_t Q, int64_t N,
                   int64_t taps, int64_t first, int64_t stride, int64_t from, int64_t to, float *gw, float *gb,
                   float *room) {
    TILES(from, to, at, rows) {
        Reach reach = {taps, first, 1, stride};
        const int64_t before = met(&reach, T, at, rows), K = reach.taps * C;
        const float *g_at = g + (b * Q + at) * N;
        gather(x + b * T * C, T, C, &reach, at, rows, room, 0);
        add_turned(room, K, g_at, rows, gw + before * C * N, K, N);
        if (gb) add_rows(g_at, rows, N, gb);
    }
}
