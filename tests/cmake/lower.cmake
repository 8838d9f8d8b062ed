# Lowering: examples, settings, messages, mutated files.
remat_test(test_lower unit/test_lower.c LIBS remat_frontend remat_shared)
target_compile_definitions(test_lower PRIVATE REMAT_EXAMPLES="${CMAKE_SOURCE_DIR}/examples"
                           REMAT_CASES="${CMAKE_SOURCE_DIR}/tests/cases")

# Tables in the documents against the lists they tell of.
remat_test(test_docs unit/test_docs.c LIBS remat_frontend remat_shared)
target_compile_definitions(test_docs PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}")

# The demo's text: what corpus.sh writes is large enough, and the same each time.
add_test(NAME corpus COMMAND sh -c "sh '${CMAKE_SOURCE_DIR}/examples/corpus.sh' corpus-1.txt && \
sh '${CMAKE_SOURCE_DIR}/examples/corpus.sh' corpus-2.txt && cmp corpus-1.txt corpus-2.txt && \
test $(wc -c < corpus-1.txt) -ge 1000000")
set_tests_properties(corpus PROPERTIES ENVIRONMENT "CMAKE_COMMAND=${CMAKE_COMMAND}")
