/* A non-blocking stream socket that carries frames, with bounded buffers on both sides. */
#ifndef KMS_BASE_STREAM_H
#define KMS_BASE_STREAM_H

#include "base/frame.h"

#define STREAM_OUT_MAX (64u << 20)

struct stream {
    int fd;
    struct buf in;
    struct buf out;    /* frames are written straight into it with frame_begin/frame_end */
    size_t in_off;     /* consumed part of in */
    size_t out_off;    /* written part of out; 0 whenever all is written */
    int passed_fd;     /* last descriptor received by SCM_RIGHTS and not yet taken, -1 = none */
};
void stream_init(struct stream *s, int fd);       /* sets O_NONBLOCK */
void stream_close(struct stream *s);
/* Reads what is there. 1 = got bytes, 0 = nothing now, -1 = end of stream or error. At most about 2 * FRAME_MAX is buffered. */
int stream_fill(struct stream *s) __attribute__((warn_unused_result));
/* Next whole frame: 1 = *f is filled (valid until the next stream_fill), 0 = none, -1 = malformed (e filled). */
int stream_next(struct stream *s, struct frame *f, struct err *e) __attribute__((warn_unused_result));
/* Bytes that arrived and were not yet handed out by stream_next, those still in the socket included. */
size_t stream_waiting(const struct stream *s);
/* Writes what it can. 0 = all written, 1 = more to write (wait for POLLOUT), -1 = peer gone. */
int stream_flush(struct stream *s) __attribute__((warn_unused_result));
/* Blocking send of one ready frame together with a descriptor. */
int stream_send_fd(struct stream *s, const struct buf *frame, int fd) __attribute__((warn_unused_result));

#endif
