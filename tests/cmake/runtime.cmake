# The trainer's loop, files, checkpoints and signals, with a hand-written program.
remat_test(test_runtime unit/test_runtime.c LIBS remat_runtime)
remat_test(test_runtime_files unit/test_runtime_files.c LIBS remat_runtime)
# Documents: their files, packing, runs over them.
remat_test(test_runtime_documents unit/test_runtime_documents.c LIBS remat_runtime)
remat_test(test_runtime_prepared unit/test_runtime_prepared.c LIBS remat_runtime)
remat_test(test_weights unit/test_weights.c LIBS remat_runtime)
remat_test(test_weight_files unit/test_weight_files.c LIBS remat_runtime)
target_compile_definitions(test_weight_files PRIVATE WEIGHT_CASES="${CMAKE_SOURCE_DIR}/tests/cases/weights")
remat_test(test_weights_nf4 unit/test_weights_nf4.c LIBS remat_runtime)
# What they do to the files of the user: checkpoints, logs, output that cannot be written.
remat_test(test_runtime_folder unit/test_runtime_folder.c LIBS remat_runtime)
# What the compiler and the trainer share: files written whole, text that a terminal may see.
remat_test(test_files unit/test_files.c LIBS remat_shared)
# Packed types against bitsandbytes; tests/campaign/quantized.py makes the numbers.
remat_test(test_quantize unit/test_quantize.c LIBS remat_runtime remat_kernels_host remat_ir)

# ninja bench_load_weights && tests/bench_load_weights: loading against reading alone.
add_executable(bench_load_weights EXCLUDE_FROM_ALL bench/load_weights.c)
target_include_directories(bench_load_weights PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(bench_load_weights PRIVATE remat_runtime)
