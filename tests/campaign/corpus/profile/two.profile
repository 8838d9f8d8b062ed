format remat-profile-1
origin a device=h100 card=NVIDIA_H100 driver=580 clocks=1980/2619 compiler=cuda-13.0 kernels=12ab
origin b device=host card=EPYC driver=- clocks=- compiler=gcc-13 kernels=0f
product a rows=4 columns=96 depth=64 transpose_a=0 transpose_b=1 operands=1 result=1 bias=1 adds=0 : id=66 tile=20 stages=35 splits=1 reduction=0 swizzle=1 custom=0 inner=0 cluster=2
variant a rmsnorm bf16[4,64] f32[4] < bf16[4,64] f32[64] eps : norm_rows8
time a linear bf16[4,96] < bf16[4,64] bf16[96,64] bf16[96] : p10_us=1.5 median_us=2 p90_us=2.5e0 count=31
time a offload f32[1000] < f32[1000] : p10_us=1 median_us=4 p90_us=5 count=4
time b rope f32[2,3]~8 < f32[2,3]~8 theta rope_original=8192 inverse=1 : p10_us=7 median_us=8 p90_us=9 count=99
