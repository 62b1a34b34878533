"""An independent statement of the method in plain float64 NumPy, for parity tests.

It is written from the specification, the CLIP architecture and the names in open_clip's state dicts, and
shares no code with `core`; the towers are themselves checked against open_clip (`tests/core/test_oracle.py`).
It begins at the normalised pixels (N, 3, S, S): decoding and preprocessing are not its business. It is slow
and refuses configurations it does not state; it knows tiny models only.

    arrays           norms, softmax, the two resamplings
    clip_numpy       the towers
    april_gan_numpy  APRIL-GAN and its mutants
    sdp_numpy        CLIP-AD: SDP and SDP+
    metrics_numpy    brute-force metrics
    tiny             tiny random models with enough life that a mutant shows
    torch_twin       open_clip's model of the same files, for checking the towers
"""
